"""Slices land in their places with their values; what cannot be stacked is refused in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from appliance.worker.decode import Decoder
from appliance.worker.faults import DecodeError, NotEligible
from appliance.worker.folder import FolderContent, instances_from_folder
from appliance.worker.limits import WorkerLimits
from appliance.worker.series import read_series
from appliance.worker.volume import build_volume
from models.tensors import Volume, affine
from tests.appliance.worker.given import content, ct, enhanced, ramp, real


def built(found: FolderContent, limits: WorkerLimits | None = None, **told: Any) -> Volume:
    limits = limits or WorkerLimits()
    series = read_series(found.instances, found.reader, limits)
    with Decoder(limits.decode) as decoder:
        return build_volume(series, found.reader, decoder, limits=limits, **told)


def reasons(found: FolderContent, limits: WorkerLimits | None = None) -> list[str]:
    with pytest.raises(NotEligible) as caught:
        built(found, limits)
    return caught.value.reasons


def test_slices_are_stacked_by_place_and_not_by_number_or_name(tmp_path: Path):
    heights = [5.0, 0.0, 7.5, 2.5]
    made = [ct(ramp(start=100 * n), z_mm=z, InstanceNumber=n) for n, z in enumerate(heights)]
    volume = built(content(tmp_path, *made))
    assert volume.positions[:, 2].tolist() == [0.0, 2.5, 5.0, 7.5]
    assert volume.voxels[:, 0, 0].tolist() == [100 - 1024, 300 - 1024, -1024, 200 - 1024]
    assert (volume.regular, volume.irregularity, volume.units, volume.modality) == (True, None, "HU", "CT")
    assert volume.spacing_mm == (2.5, 0.5, 0.5)
    assert volume.valid.all()


def test_a_stack_against_the_axis_stays_right_handed(tmp_path: Path):
    turned = [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    made = [ct(ramp(), z_mm=z, ImageOrientationPatient=turned) for z in (0.0, 2.0, 4.0)]
    volume = built(content(tmp_path, *made))
    assert volume.positions[:, 2].tolist() == [4.0, 2.0, 0.0]
    assert (affine(volume)[:3, 0] @ volume.normal) == pytest.approx(2.0)


def test_padding_is_not_valid(tmp_path: Path):
    cells = ramp(dtype="i2")
    cells[0, 0] = -2000
    volume = built(content(tmp_path, ct(cells, PixelPaddingValue=-2000), ct(ramp(dtype="i2"), z_mm=2.5)))
    assert not volume.valid[0, 0, 0]
    assert volume.valid.sum() == volume.valid.size - 1


def test_without_padding_no_memory_goes_into_validity(tmp_path: Path):
    assert built(content(tmp_path, ct(ramp()))).valid.strides == (0, 0, 0)


def test_an_irregular_series_stays_what_it_is(tmp_path: Path):
    heights = [0.0, 2.5, 5.0, 10.0, 12.5]
    volume = built(content(tmp_path, *(ct(ramp(), z_mm=z) for z in heights)))
    assert not volume.regular
    assert volume.irregularity == "1 slice is missing: one gap is 5.0 mm where slices are 2.5 mm apart"
    assert volume.positions[:, 2].tolist() == heights
    assert len(volume.voxels) == 5


def test_an_enhanced_object_has_a_place_and_a_rescale_for_every_frame(tmp_path: Path):
    cells = np.stack([ramp(start=10 * frame) for frame in range(3)])
    volume = built(content(tmp_path, enhanced(cells, [5.0, 0.0, 2.5], [0.0, -100.0, -200.0])))
    assert volume.positions[:, 2].tolist() == [0.0, 2.5, 5.0]
    assert np.array_equal(volume.voxels[0], cells[1] * 2.0 - 100)
    assert np.array_equal(volume.voxels[1], cells[2] * 2.0 - 200)
    assert np.array_equal(volume.voxels[2], cells[0] * 2.0)
    assert (volume.units, volume.regular) == ("HU", True)


def test_a_compressed_enhanced_object(tmp_path: Path):
    cells = np.stack([ramp(32, 32, start=10 * frame) for frame in range(3)])
    made = enhanced(cells, [0.0, 2.5, 5.0], [0.0, 0.0, 0.0])
    made.compress(RLELossless, generate_instance_uid=False)
    assert np.array_equal(built(content(tmp_path, made)).voxels, cells * 2.0)


def test_compressed_slices_of_one_series(tmp_path: Path):
    made = [ct(ramp(32, 32, start=z), z_mm=float(z)) for z in range(5)]
    for one in made[::2]:
        one.compress(JPEG2000Lossless, generate_instance_uid=False)
    told: list[tuple[int, int]] = []
    volume = built(content(tmp_path, *made), progress=lambda done, total: told.append((done, total)))
    assert volume.voxels[:, 0, 0].tolist() == [z - 1024.0 for z in range(5)]
    assert told == [(done, 5) for done in range(1, 6)]


def test_a_projection_is_read_without_a_place(tmp_path: Path):
    made = ct(
        ramp(),
        Modality="DX",
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        ImagerPixelSpacing=[0.1, 0.2],
        PhotometricInterpretation="MONOCHROME1",
        RescaleIntercept=0,
        BitsStored=12,
        HighBit=11,
    )
    volume = built(content(tmp_path, made))
    assert volume.pixel_spacing_mm == (0.1, 0.2)
    assert (volume.regular, volume.units) == (False, "")
    assert volume.irregularity == "the image carries no position in the patient"
    assert np.array_equal(volume.voxels[0], 4095.0 - ramp())


def test_hounsfield_units_are_not_turned_over(tmp_path: Path):
    volume = built(content(tmp_path, ct(ramp(), PhotometricInterpretation="MONOCHROME1")))
    assert np.array_equal(volume.voxels[0], ramp() - 1024.0)


@pytest.mark.parametrize(
    ("changes", "units"),
    [
        ({}, "HU"),
        ({"RescaleType": "HU"}, "HU"),
        ({"RescaleType": "US"}, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, ""),
        ({"RescaleSlope": None, "RescaleIntercept": None}, ""),
        ({"Modality": "MR"}, ""),
    ],
)
def test_units(tmp_path: Path, changes: dict[str, Any], units: str):
    assert built(content(tmp_path, ct(ramp(), **changes))).units == units


def test_one_slice_takes_the_spacing_it_states(tmp_path: Path):
    assert built(content(tmp_path, ct(ramp()))).slice_spacing_mm == 2.5
    bare = tmp_path / "bare"
    bare.mkdir()
    assert built(content(bare, ct(ramp(), SliceThickness=None))).slice_spacing_mm == 0.0


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (
            [{"z_mm": 0.0}],
            "No volume can be made: 1 of 4 images lie at a position that another image already has.",
        ),
        (
            [{"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}],
            "No volume can be made: 1 of 4 images lie in another plane than the rest (a localiser?).",
        ),
        (
            [{"z_mm": 9.0, "ImagePositionPatient": None}],
            "No volume can be made: 1 of 4 images carry no usable position in the patient "
            "(Image Position, Image Orientation or Pixel Spacing).",
        ),
        (
            [{"z_mm": 7.5, "PixelSpacing": [1, 1]}],
            "No volume can be made: images differ in pixel spacing: 0.5 x 0.5 and 1 x 1 mm.",
        ),
        ([{"z_mm": 7.5, "RescaleSlope": 0}], "Rescale Slope or Intercept is no number to calculate with."),
        (
            [{"z_mm": 7.5, "PhotometricInterpretation": "PALETTE COLOR"}],
            "The images are in colour (PALETTE COLOR), not greyscale.",
        ),
        ([{"z_mm": 7.5, "PixelData": None}], "1 of 4 instances hold no pixels."),
        (
            [{"z_mm": 7.5, "NumberOfFrames": 2}],
            "The series holds 4 objects, 1 of them multi-frame; only one is read.",
        ),
    ],
)
def test_what_cannot_be_stacked_is_said(tmp_path: Path, others: list[dict[str, Any]], sentence: str):
    made = [ct(ramp(), z_mm=z) for z in (0.0, 2.5, 5.0)]
    assert reasons(content(tmp_path, *made, *(ct(ramp(), **other) for other in others))) == [sentence]


def test_slices_of_another_size_are_refused(tmp_path: Path):
    found = content(tmp_path, ct(ramp(), z_mm=0.0), ct(ramp(6, 6), z_mm=2.5))
    assert reasons(found) == ["No volume can be made: images differ in size: 4 x 6 and 6 x 6 pixels."]


def test_a_table_instead_of_a_rescale_is_refused(tmp_path: Path):
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [4, 0, 16]
    lut.add_new("LUTData", "US", [0, 1, 2, 3])
    made = ct(ramp(), RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=[lut])
    assert reasons(content(tmp_path, made)) == [
        "The values go through a table (Modality LUT Sequence), which is not read."
    ]


def test_more_places_than_frames_are_refused(tmp_path: Path):
    made = enhanced(np.stack([ramp()] * 3), [0.0, 1.0, 2.0], [0.0] * 3)
    made.NumberOfFrames = 2
    assert reasons(content(tmp_path, made)) == ["Number of Frames is 2, and places are given for 3."]


def test_a_cine_without_places_is_refused(tmp_path: Path):
    made = ct(ramp(), NumberOfFrames=2, ImagePositionPatient=None, Modality="US")
    made.PixelData = made.PixelData * 2
    (said,) = reasons(content(tmp_path, made))
    assert said.startswith("No volume can be made: 2 of 2 images carry no usable position")


def test_bounds_hold_before_memory_is_taken(tmp_path: Path):
    found = content(tmp_path, *(ct(ramp(), z_mm=float(z)) for z in range(3)))
    with pytest.raises(DecodeError, match=r"decode.shape.*voxels"):
        built(found, WorkerLimits(voxels_max=71))
    assert reasons(found, WorkerLimits(frames_max=2)) == ["The series claims 3 frames; at most 2 are read."]


def test_an_empty_series_is_refused():
    with pytest.raises(NotEligible):
        read_series([], None, WorkerLimits())  # type: ignore[arg-type]


def test_one_broken_slice_stops_the_volume(tmp_path: Path):
    found = content(tmp_path, *(ct(ramp(), z_mm=float(z)) for z in range(6)))
    file = tmp_path / "003.dcm"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DecodeError, match=r"decode.shape"):
        built(found)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm"])
def test_real_objects_equal_pydicom(tmp_path: Path, name: str):
    _, found = real(tmp_path, name)
    header = pydicom.dcmread(tmp_path / name)
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    assert np.array_equal(built(found).voxels[0], header.pixel_array * slope + intercept)


def test_the_tilted_head_keeps_its_places(shared_studies: Path):
    volume = built(instances_from_folder(shared_studies / "ct-head-tilted"))
    assert volume.shape == (28, 512, 512)
    assert volume.gantry_tilt_degrees == pytest.approx(18.5, abs=0.01)
    assert not volume.regular
    assert not volume.valid.all()
    assert (volume.voxels[~volume.valid] == -1500).all()
