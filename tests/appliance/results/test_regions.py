"""What is outlined, and on which slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from appliance.results.limits import Limits
from appliance.results.regions import regions, slices_to_draw_on
from tests.appliance.results.given import TISSUE, bands, lesions, nothing, segment, series


def test_lesions_are_outlined_as_themselves_and_other_segments_whole():
    volume = series().volume
    assert [region.name for region in regions(lesions(volume), volume)] == ["lesion 1", "lesion 2"]
    assert [region.name for region in regions(bands(volume), volume)] == ["bone", "spongy"]
    assert regions(nothing(), volume) == []


def test_a_segment_with_lesions_beyond_the_bound_is_outlined_too():
    volume = series().volume
    found = regions(lesions(volume), volume, limits=Limits(lesion_groups_max=1))
    assert [region.name for region in found] == ["lesion 1", "lesion"]


def test_a_region_s_plane_is_its_mask():
    volume = series().volume
    findings = lesions(volume)
    whole = np.zeros(volume.shape, dtype=np.bool_)
    for region in regions(findings, volume):
        for index in region.slices:
            assert region.plane(index).any()
            whole[index] |= region.plane(index)
    assert (whole == findings.segments[0].mask).all()


def test_every_region_keeps_its_largest_slice_when_slices_are_few():
    volume = series(slices=40).volume
    masks = np.zeros((2, *volume.shape), dtype=np.bool_)
    masks[0, 2:12, 4:8, 4:8] = True
    masks[0, 5, 3:9, 3:9] = True
    masks[1, 20:40, 20:24, 20:24] = True
    masks[1, 35, 19:25, 19:25] = True
    two = tuple(segment(str(i), i, mask, TISSUE) for i, mask in enumerate(masks, start=1))
    found = regions(replace(bands(volume), segments=two), volume)
    assert slices_to_draw_on(found, images_max=2) == [5, 35]
    assert slices_to_draw_on(found, images_max=6) == [4, 5, 6, 34, 35, 36]
    assert len(slices_to_draw_on(found, images_max=99)) == 30
