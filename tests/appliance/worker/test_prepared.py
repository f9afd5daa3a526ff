"""Slices that were prepared are the slices that would have been read, within a bound."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from appliance.core.instance import Instance
from appliance.worker.decode import Decoder
from appliance.worker.folder import FolderContent
from appliance.worker.limits import WorkerLimits
from appliance.worker.prepared import (
    Prepared,
    PreparedDecoder,
    PreparedReader,
    PreparedSlices,
    bytes_of,
    prepare,
    rest_of,
)
from appliance.worker.series import read_series
from appliance.worker.volume import build_volume
from models.tensors import Volume
from tests.appliance.worker.given import content, ct, enhanced, ramp, real

LIMITS = WorkerLimits()
COMPRESSED = ("JPEG2000.dcm", "MR_small_RLE.dcm")


def prepared_now(instance: Instance, found: FolderContent) -> Prepared:
    with Decoder() as decoder:
        one = prepare(instance, found.reader, decoder)
    assert one is not None
    return one


def filled(found: FolderContent, store: PreparedSlices | None, decoder: Decoder) -> Volume:
    prepared = {} if store is None else store.of(found.instances)
    reader = PreparedReader.of(prepared, found.reader)
    series = read_series(found.instances, reader, LIMITS)
    return build_volume(series, reader, PreparedDecoder(prepared=prepared, decoder=decoder), limits=LIMITS)


def same(one: Volume, other: Volume) -> None:
    assert np.array_equal(one.voxels, other.voxels)
    assert np.array_equal(one.valid, other.valid)
    assert np.array_equal(one.positions, other.positions)
    assert one.units == other.units


@settings(max_examples=25, deadline=None)
@drawn(data=st.data())
def test_a_volume_is_the_same_however_many_of_its_slices_were_prepared(data):
    syntax = data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]))
    dtype, count = data.draw(st.sampled_from(["u2", "i2", "u1"])), data.draw(st.integers(1, 5))
    padding = {"PixelPaddingValue": 3} if dtype == "u2" and data.draw(st.booleans()) else {}
    ahead = data.draw(st.sets(st.integers(0, count - 1)))
    made = [
        ct(
            ramp(dtype=dtype, start=n),
            z_mm=2.0 * n,
            syntax=syntax,
            RescaleSlope=data.draw(st.sampled_from([1, 0.7])),
            **padding,
        )
        for n in range(count)
    ]
    with TemporaryDirectory() as folder, Decoder() as decoder:
        found = content(Path(folder), *made)
        store = PreparedSlices(1 << 20)
        for number in ahead:
            one = prepare(found.instances[number], found.reader, decoder)
            assert one is not None
            assert store.put(found.instances[number], one)
        assert len(rest_of(found.instances, store.of(found.instances))) == count - len(ahead)
        same(filled(found, store, decoder), filled(found, None, decoder))


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_slices_are_prepared_out_of_the_child(tmp_path: Path, name: str):
    instance, found = real(tmp_path, name)
    with Decoder() as decoder:
        one = prepare(instance, found.reader, decoder)
        assert one is not None
        plain = list(decoder.frames(instance, found.reader))
        assert all(np.array_equal(a, b) for a, b in zip(one.cells, plain, strict=True))


def test_frames_of_one_object_are_prepared_together(tmp_path: Path):
    cells = np.stack([ramp(start=n * 50) for n in range(3)])
    found = content(tmp_path, enhanced(cells, [0.0, 2.0, 4.0], [-1024, 0, 10]))
    with Decoder() as decoder:
        store = PreparedSlices(1 << 20)
        one = prepare(found.instances[0], found.reader, decoder)
        assert one is not None
        store.put(found.instances[0], one)
        same(filled(found, store, decoder), filled(found, None, decoder))


def test_bytes_that_are_not_those_of_the_digest_are_not_prepared(tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    file = tmp_path / found.instances[0].location.file
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with Decoder() as decoder:
        assert prepare(found.instances[0], found.reader, decoder) is None


def test_other_bytes_under_the_same_uid_are_not_taken(tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    (instance,) = found.instances
    one = prepared_now(instance, found)
    store = PreparedSlices(1 << 20)
    store.put(instance, one)
    for changed in (
        replace(instance, digest="sha256:0"),
        replace(instance, location=replace(instance.location, offset=instance.location.offset + 2)),
    ):
        assert not store.has(changed)
        assert rest_of([changed], store.of([changed])) == [changed]


def test_what_is_no_image_is_not_prepared_and_finds_no_room(tmp_path: Path):
    found = content(tmp_path, ct(ramp(), Rows=0))
    with Decoder() as decoder:
        assert prepare(found.instances[0], found.reader, decoder) is None
    assert bytes_of(found.instances[0]) is None
    assert not PreparedSlices(1 << 20).has_room(found.instances[0])


def test_no_more_is_held_than_the_bound_and_another_study_makes_room(tmp_path: Path):
    found = content(tmp_path, *(ct(ramp(), z_mm=n) for n in range(3)))
    made = [prepared_now(one, found) for one in found.instances]
    store = PreparedSlices(2 * made[0].bytes + 1)
    taken = [store.put(one, prepared) for one, prepared in zip(found.instances, made, strict=True)]
    assert taken == [True, True, False]
    assert not store.has_room(found.instances[2])
    store.keep_only({"another"})
    assert store.of(found.instances) == {}
    assert store.put(found.instances[2], made[2])


def test_the_same_instance_twice_counts_once(tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    one = prepared_now(found.instances[0], found)
    store = PreparedSlices(one.bytes)
    assert all(store.put(found.instances[0], one) for _ in range(3))


def test_what_is_prepared_cannot_be_changed(tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    one = prepared_now(found.instances[0], found)
    with pytest.raises(ValueError, match="read-only"):
        one.cells[0][0, 0] = 1


@pytest.mark.parametrize(("offset", "length"), [*itertools.product([0, 5], [0, 10, None])])
def test_a_reader_gives_what_lies_there_whether_it_was_prepared_or_not(tmp_path: Path, offset, length):
    found = content(tmp_path, ct(ramp()))
    (instance,) = found.instances
    one = prepared_now(instance, found)
    reader = PreparedReader.of({(instance.location, instance.digest): one}, found.reader)
    plain = found.reader.read(instance.location, offset, length)
    assert reader.read(instance.location, offset, length) == plain


def test_native_frames_lie_in_what_was_read_and_count_as_all_of_it(tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    (instance,) = found.instances
    one = prepared_now(instance, found)
    assert one.bytes == bytes_of(instance) == instance.location.length
    head, pixels = (
        array.__array_interface__["data"][0] for array in (np.frombuffer(one.head, np.uint8), one.cells[0])
    )
    assert pixels == head + instance.pixel_offset
