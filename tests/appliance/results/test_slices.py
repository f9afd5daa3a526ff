"""Every slice of a volume is traced back to its image, or to its frame."""

from __future__ import annotations

import pytest

from appliance.results.slices import slice_places
from tests.appliance.results.given import multiframe, radiograph, series


def test_single_frames_come_in_the_order_of_the_volume():
    made = series(slices=4)
    places = slice_places(made.sources, made.volume)
    assert [place.sop_instance_uid[-1] for place in places] == ["1", "2", "3", "4"]
    assert [place.instance_number for place in places] == [4, 3, 2, 1]
    assert {place.frame for place in places} == {None}
    assert places[0].frames is None


def test_positions_are_measured_along_the_normal():
    made = series("oblique", slices=3)
    places = slice_places(made.sources, made.volume)
    positions = [place.position_mm for place in places if place.position_mm is not None]
    assert [round(position - positions[0], 3) for position in positions] == [0.0, 2.5, 5.0]


def test_a_radiograph_has_no_position():
    made = radiograph()
    assert [place.position_mm for place in slice_places(made.sources, made.volume)] == [None]


def test_frames_are_found_by_position_not_by_number():
    made = multiframe(series(slices=4))
    places = slice_places(made.sources, made.volume)
    assert [place.frame for place in places] == [4, 3, 2, 1]
    assert places[0].frames == [4]


def test_frames_without_positions_are_counted():
    made = multiframe(series(slices=3))
    del made.sources[0].PerFrameFunctionalGroupsSequence
    assert [place.frame for place in slice_places(made.sources, made.volume)] == [1, 2, 3]


def test_a_slice_that_no_frame_has_is_a_mistake_of_ours():
    made = multiframe(series(slices=3))
    made.sources[0].PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [
        9,
        9,
        9,
    ]
    with pytest.raises(AssertionError):
        slice_places(made.sources, made.volume)


def test_a_missing_instance_number_is_no_number():
    made = series(slices=2)
    made.sources[0].InstanceNumber = None
    del made.sources[1].InstanceNumber
    assert [p.instance_number for p in slice_places(made.sources, made.volume)] == [None, None]
