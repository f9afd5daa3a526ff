"""ct-tissue-bands against numpy, voxel by voxel, on synthetic and on real series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from models import codes
from models.analysis import analyse
from models.findings import Code, Findings, Outcome
from models.operations.patches import Infer
from models.package import Package
from tests.models import given

BANDS: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -500.0),
    "fat": (-190.0, -30.0),
    "soft": (-30.0, 50.0),
    "dense-soft": (50.0, 90.0),
    "bone": (300.0, np.inf),
}
Values = dict[tuple[str | None, Code, Code | None], float]


def values_of(findings: Findings) -> Values:
    return {(one.segment, one.name, one.derivation): one.value for one in findings.measurements}


def in_band(hu: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.bool_]:
    low, high = BANDS[name]
    return (hu >= low) & (hu < high)


def test_every_band_edge_is_half_open(bands: Package, bands_engine: Infer) -> None:
    edges = np.array([-501, -500, -191, -190, -31, -30, 49, 50, 89, 90, 299, 300], dtype=np.float32)
    between = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    findings = analyse(bands, given.volume(between.reshape(2, 2, 9)), bands_engine)
    hu = between.astype(float).reshape(2, 2, 9)
    for name in BANDS:
        expected = in_band(hu, name).sum() * 2.0 / 1000
        assert values_of(findings)[name, codes.VOLUME, None] == pytest.approx(expected, abs=1e-12)
    for segment in findings.segments:
        assert np.array_equal(segment.mask, in_band(hu, segment.label))


def test_outcome_is_measured_and_segments_are_bone_and_dense_soft(
    bands: Package, bands_engine: Infer
) -> None:
    findings = analyse(bands, given.volume(np.full((3, 4, 4), 60)), bands_engine)
    assert findings.outcome is Outcome.MEASURED
    assert [(segment.number, segment.label) for segment in findings.segments] == [
        (1, "bone"),
        (2, "dense-soft"),
    ]
    assert findings.lesions == ()
    assert "no finding is claimed" in findings.statement


def test_padding_belongs_to_no_band(bands: Package, bands_engine: Infer) -> None:
    hu = np.full((2, 4, 5), 40.0)
    hu[:, 0, :] = -2000
    findings = analyse(bands, given.volume(hu, valid=hu > -2000), bands_engine)
    values = values_of(findings)
    assert values["air", codes.VOLUME, None] == 0
    assert values["soft", codes.VOLUME, None] == pytest.approx(2 * 3 * 5 * 2.0 / 1000)
    assert {(one.segment, one.name) for one in findings.withheld} >= {("air", codes.ATTENUATION)}


def test_irregular_series_keeps_means_and_masks_but_no_volume(bands: Package, bands_engine: Infer) -> None:
    hu = np.full((3, 4, 4), 400.0)
    cause = "the gap after slice 2 is 9.0 mm"
    findings = analyse(bands, given.volume(hu, regular=False, irregularity=cause), bands_engine)
    values = values_of(findings)
    assert not any(name == codes.VOLUME for _, name, _ in values)
    reasons = [one.reason for one in findings.withheld if one.name == codes.VOLUME]
    assert len(reasons) == len(BANDS)
    assert all(cause in reason for reason in reasons)
    assert cause in findings.statement
    assert values["bone", codes.ATTENUATION, codes.MEAN] == 400.0
    assert findings.segments[0].mask.all()


def test_tilt_does_not_change_a_volume(bands: Package, bands_engine: Infer) -> None:
    hu = np.full((3, 4, 4), 400.0)
    straight = given.volume(hu)
    positions = straight.positions.copy()
    positions[:, 1] = np.arange(3) * 0.6
    tilted = given.volume(hu, positions=positions, gantry_tilt_degrees=16.7)
    assert values_of(analyse(bands, tilted, bands_engine)) == values_of(
        analyse(bands, straight, bands_engine)
    )


def test_one_slice_gives_no_volume(bands: Package, bands_engine: Infer) -> None:
    findings = analyse(bands, given.volume(np.full((1, 4, 4), 40.0), spacing_mm=(5, 1, 1)), bands_engine)
    assert not any(one.name == codes.VOLUME for one in findings.measurements)
    assert "single slice" in findings.statement


def test_batches_are_reported_and_do_not_change_the_answer(bands: Package, bands_engine: Infer) -> None:
    hu = np.random.default_rng(5).integers(-1024, 1500, size=(19, 16, 16)).astype(float)
    seen: list[tuple[int, int]] = []
    findings = analyse(
        bands, given.volume(hu), bands_engine, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(8, 19), (16, 19), (19, 19)]
    bone = hu[in_band(hu, "bone")]
    values = values_of(findings)
    assert values["bone", codes.ATTENUATION, codes.MEAN] == pytest.approx(bone.mean(), rel=1e-13)
    assert values["bone", codes.ATTENUATION, codes.STANDARD_DEVIATION] == pytest.approx(bone.std(), rel=1e-10)


@pytest.mark.parametrize(("study", "regular"), [("ct-phantom-5mm", True), ("ct-head-tilted", False)])
def test_real_series_equals_numpy(
    shared_studies: Path, bands: Package, bands_engine: Infer, study: str, regular: bool
) -> None:
    images = given.read_series(shared_studies / study)
    volume = given.series_volume(
        images, regular=regular, irregularity=None if regular else "as its README says"
    )
    findings = analyse(bands, volume, bands_engine)
    values = values_of(findings)
    hu = np.stack([given.hounsfield(image) for image in images])
    for name in BANDS:
        inside = in_band(hu, name) & volume.valid
        assert values[name, codes.ATTENUATION, codes.MEAN] == pytest.approx(hu[inside].mean(), rel=1e-10)
        deviation = values[name, codes.ATTENUATION, codes.STANDARD_DEVIATION]
        assert deviation == pytest.approx(hu[inside].std(), rel=1e-8)
        if regular:
            voxel_ml = 5.0 * float(images[0].PixelSpacing[0]) * float(images[0].PixelSpacing[1]) / 1000
            assert values[name, codes.VOLUME, None] == pytest.approx(inside.sum() * voxel_ml, abs=0.1)
        else:
            assert (name, codes.VOLUME, None) not in values
    for segment in findings.segments:
        assert np.array_equal(segment.mask, in_band(hu, segment.label) & volume.valid)


def test_pydicoms_small_ct_equals_numpy(bands: Package, bands_engine: Infer) -> None:
    path = get_testdata_file("CT_small.dcm")
    assert path is not None
    image = dcmread(str(path))
    findings = analyse(bands, given.series_volume([image], regular=True), bands_engine)
    hu = given.hounsfield(image)[None]
    for segment in findings.segments:
        assert np.array_equal(segment.mask, in_band(hu, segment.label))
    values = values_of(findings)
    for name in ("air", "soft"):
        assert values[name, codes.ATTENUATION, codes.MEAN] == pytest.approx(hu[in_band(hu, name)].mean())
