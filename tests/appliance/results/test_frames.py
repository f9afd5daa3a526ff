"""The encoder's header of a source is its own, and says where the source lies."""

from __future__ import annotations

import pytest

from appliance.results.frames import placed, plane_positions
from tests.appliance.results.given import ct_header, multiframe, series


@pytest.mark.parametrize("make", [series, lambda: multiframe(series())])
def test_a_header_of_one_pixel_leaves_the_source_as_it_was(make):
    made = make()
    source = made.sources[0]
    header = placed(source, made.volume)
    assert (header.Rows, header.Columns) == (1, 1)
    assert (source.Rows, source.Columns) == (48, 40)
    assert header.SOPInstanceUID == source.SOPInstanceUID


def test_a_slice_distance_stands_in_for_a_thickness_that_is_not_told():
    bare = ct_header()
    del bare.SliceThickness
    made = series(header=bare)
    assert placed(made.sources[0], made.volume).SliceThickness == 2.5
    assert "SliceThickness" not in made.sources[0]


def test_only_frames_of_one_object_need_places_from_the_volume():
    made = series()
    assert plane_positions(made.sources[0], made.volume, range(6)) is None
    folded = multiframe(made)
    places = plane_positions(folded.sources[0], made.volume, range(2, 4))
    assert places is not None
    assert [list(place[0].ImagePositionPatient) for place in places] == [
        [float(v) for v in position] for position in made.volume.positions[2:4]
    ]
