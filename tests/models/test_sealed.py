"""An answer that was put away comes back as it was, and nothing else passes for one."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import sealed
from models.agreement import Box, Mask, Reading
from models.sealed import SealFault, seal, unseal


def answer(size: int = 50) -> Reading:
    voxels = np.zeros(size, dtype=np.bool_)
    voxels[3:9] = True
    return Reading(
        outcome="finding",
        numbers={"organ: Volume": 1.25},
        withheld=("organ: Area",),
        masks=(
            Mask(label="organ", bits=np.packbits(voxels), size=size),
            Mask(label="cyst", bits=np.packbits(~voxels), size=size),
        ),
        verdicts={"a": ("present", 0.75)},
        boxes=(Box(kind="nodule", slices=(1, 2), corners=(0.0, 1.0, 2.0, 3.5), probability=0.5),),
    )


def same(one: Reading, other: Reading) -> bool:
    plain = all(
        getattr(one, name) == getattr(other, name)
        for name in ("outcome", "numbers", "withheld", "verdicts", "boxes")
    )
    masks = [(mask.label, mask.size, mask.bits.tobytes()) for mask in one.masks]
    return plain and masks == [(mask.label, mask.size, mask.bits.tobytes()) for mask in other.masks]


@pytest.mark.parametrize("size", [8, 49, 50])
def test_an_answer_comes_back_as_it_was(size: int):
    assert same(unseal(seal(answer(size))), answer(size))
    plain = Reading(outcome="no finding", numbers={}, withheld=())
    assert same(unseal(seal(plain)), plain)


@given(st.binary(max_size=100))
def test_whatever_lies_there_ends_in_one_error(data: bytes):
    for said in (data, zlib.compress(data), zlib.compress(b'{"voxels": [8], "expected": {}}\n' + data)):
        with pytest.raises(SealFault):
            unseal(said)


@given(st.data())
def test_an_answer_that_was_cut_or_changed_is_refused_or_is_the_same(data: st.DataObject):
    kept = bytearray(seal(answer()))
    place = data.draw(st.integers(0, len(kept) - 1))
    with pytest.raises(SealFault):
        unseal(bytes(kept[:place]))
    kept[place] ^= data.draw(st.integers(1, 255))
    try:
        read = unseal(bytes(kept))
    except SealFault:
        return
    # A bit that stands for nothing.
    assert same(read, answer())


def test_a_mask_of_another_size_is_refused():
    line, _, bits = zlib.decompress(seal(answer())).partition(b"\n")
    head = json.loads(line)
    head["voxels"] = [50, 5_000]
    with pytest.raises(SealFault, match="other sizes"):
        unseal(zlib.compress(json.dumps(head).encode() + b"\n" + bits))


def test_nothing_is_unpacked_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sealed, "UNPACKED_BYTES_MAX", 1_000)
    with pytest.raises(SealFault, match="ends before its end"):
        unseal(zlib.compress(b"x" * 10_000))
