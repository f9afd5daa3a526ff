"""One frame of many is cut out of its object without reading the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

from appliance.console.preview.frame import one_frame
from appliance.core.instance import Instance, Location
from appliance.worker.decode import Decoder
from appliance.worker.faults import DecodeError
from tests.appliance.worker.given import content, enhanced, ramp

CELLS = np.stack([ramp(6, 8, start=1000 * n) for n in range(3)])
MIB = 2**20


class Counting:
    """A reader that counts the bytes it gave."""

    def __init__(self, reader: Any) -> None:
        self._reader, self.count = reader, 0

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        data: bytes = self._reader.read(location, offset, length)
        self.count += len(data)
        return data


def kept(folder: Path, *, fragments: int | None = None, table: bool = True) -> tuple[Instance, Counting]:
    """An enhanced CT of three frames, native or in so many fragments a frame."""
    made = enhanced(CELLS, heights_mm=[0, 1, 2], intercepts=[0, 0, 0])
    if fragments is not None:
        made.compress(RLELossless, generate_instance_uid=False)
        frames = list(generate_frames(made.PixelData, number_of_frames=3))
        made.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table)
    found = content(folder, made)
    return found.instances[0], Counting(found.reader)


@pytest.mark.parametrize(("fragments", "table"), [(None, True), (1, True), (1, False), (2, True)])
@pytest.mark.parametrize("frame", [1, 2, 3])
def test_a_frame_is_what_it_was(tmp_path, fragments, table, frame):
    instance, reader = kept(tmp_path, fragments=fragments, table=table)
    single, source = one_frame(instance, frame, reader, bytes_max=MIB)
    assert single.facts["NumberOfFrames"] == 1
    with Decoder() as decoder:
        (cells,) = decoder.stored_frames(single, source)
    assert np.array_equal(cells, CELLS[frame - 1])
    if fragments is None:
        assert reader.count == CELLS[0].nbytes, "no other frame was read"


def test_frames_of_several_fragments_without_a_table_are_not_guessed(tmp_path):
    instance, reader = kept(tmp_path, fragments=2, table=False)
    with pytest.raises(DecodeError, match="no table says how"):
        one_frame(instance, 2, reader, bytes_max=MIB)


@pytest.mark.parametrize("frame", [0, 4])
def test_there_is_no_other_frame(tmp_path, frame):
    instance, reader = kept(tmp_path)
    with pytest.raises(DecodeError, match="no frame"):
        one_frame(instance, frame, reader, bytes_max=MIB)


@pytest.mark.parametrize("fragments", [None, 1])
def test_a_frame_beyond_the_bound_is_not_read(tmp_path, fragments):
    instance, reader = kept(tmp_path, fragments=fragments)
    with pytest.raises(DecodeError, match="more than is shown"):
        one_frame(instance, 1, reader, bytes_max=20)


def test_a_claim_of_more_frames_than_there_are(tmp_path):
    instance, reader = kept(tmp_path, fragments=1)
    more = replace(instance, facts={**instance.facts, "NumberOfFrames": 5})
    with pytest.raises(DecodeError):
        one_frame(more, 5, reader, bytes_max=MIB)
