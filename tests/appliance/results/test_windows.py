"""A key picture is shown as the scanner meant it, or as well as can be guessed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from appliance.results.windows import Rescale, rescale_of, window_of
from tests.appliance.results.given import series


def source(**values: object) -> Dataset:
    header = Dataset()
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


@pytest.mark.parametrize(("centre", "width"), [(35, 100), ([35, 700], [100, 4000]), ("35", "100")])
def test_the_first_window_of_the_source_is_taken(centre, width):
    header = source(WindowCenter=centre, WindowWidth=width)
    assert window_of(header, series().volume, index=0) == (35.0, 100.0)


@pytest.mark.parametrize(("centre", "width"), [(None, None), (35, 0), (35, None), ([], [])])
def test_without_a_usable_window_ct_gets_its_usual_one(centre, width):
    header = source(WindowCenter=centre, WindowWidth=width)
    assert window_of(header, series().volume, index=0) == (40.0, 400.0)


def test_without_units_the_slice_gives_its_own_range():
    volume = series().volume
    voxels = volume.voxels.copy()
    voxels[0] = np.linspace(0, 100, voxels[0].size, dtype=np.float32).reshape(voxels[0].shape)
    voxels[0, 0, 0] = 1e6
    valid = volume.valid.copy()
    valid[0, 0, 0] = False
    centre, width = window_of(source(), replace(volume, voxels=voxels, valid=valid, units=""), index=0)
    assert centre == pytest.approx(50, abs=1)
    assert width == pytest.approx(98, abs=1)


def test_a_slice_of_padding_only_still_has_a_window():
    volume = series().volume
    empty = replace(volume, valid=np.zeros_like(volume.valid), units="")
    assert window_of(source(), empty, index=0) == (0.0, 1.0)


def test_the_window_of_a_multiframe_image_is_found_in_its_groups():
    window, shared = source(WindowCenter=50, WindowWidth=90), Dataset()
    shared.FrameVOILUTSequence = [window]
    header = source(SharedFunctionalGroupsSequence=[shared])
    assert window_of(header, series().volume, index=0) == (50.0, 90.0)


def test_an_inverted_image_is_not_shown_with_its_stored_window():
    header = source(PhotometricInterpretation="MONOCHROME1", WindowCenter=1, WindowWidth=1)
    assert window_of(header, replace(series().volume, units=""), index=0)[1] > 10


def test_rescaling_is_read_at_the_top_or_in_the_groups_of_its_frame():
    volume = series().volume
    plain = source(RescaleSlope="2", RescaleIntercept="-1024")
    assert rescale_of(plain, volume, frame=None) == Rescale(slope=2, intercept=-1024, type="HU")
    groups = [
        source(
            PixelValueTransformationSequence=[source(RescaleSlope=s, RescaleIntercept=5, RescaleType="US")]
        )
        for s in (1, 3)
    ]
    framed = source(PerFrameFunctionalGroupsSequence=groups)
    assert rescale_of(framed, volume, frame=2) == Rescale(slope=3, intercept=5, type="US")
    assert rescale_of(source(RescaleSlope="2"), volume, frame=None) is None
