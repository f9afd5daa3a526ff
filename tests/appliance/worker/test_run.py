"""One series through one model: findings, evidence and seconds; or the reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError
from appliance.worker.faults import AnalysisFailed, DecodeError, NotEligible
from appliance.worker.folder import FolderContent, instances_from_folder
from appliance.worker.limits import WorkerLimits
from appliance.worker.run import Analysis, analyse_series
from models.findings import Outcome
from models.package import Package
from tests.appliance.worker.given import content, ct, package, ramp


@pytest.fixture(scope="module")
def bands() -> Package:
    return package("ct-tissue-bands")


@pytest.fixture(scope="module")
def engine(bands: Package) -> OnnxRuntimeCpu:
    made = OnnxRuntimeCpu()
    made.load(made.plan(bands))
    return made


def analysed(bands: Package, engine: Any, found: FolderContent, **given: Any) -> Analysis:
    return analyse_series(bands, engine, found.instances, found.reader, **given)


def test_a_series_is_analysed(bands: Package, engine: OnnxRuntimeCpu, tmp_path: Path):
    found = content(tmp_path, *(ct(ramp(start=1000), z_mm=2.5 * z) for z in (2, 0, 1)))
    told: list[tuple[str, int, int]] = []
    analysis = analysed(bands, engine, found, progress=lambda *step: told.append(step))
    assert analysis.findings.outcome is Outcome.MEASURED
    assert [header.ImagePositionPatient[2] for header in analysis.sources] == [0.0, 2.5, 5.0]
    assert all("PixelData" not in header for header in analysis.sources)
    assert len(analysis.evidence.instances) == 3
    assert set(analysis.seconds) == {"volume", "decode", "inference", "interpret"}
    assert min(analysis.seconds.values()) > 0
    assert told[2] == ("decode", 3, 3)
    assert told[-1] == ("inference", 3, 3)


def test_a_series_the_model_cannot_read_is_refused_before_it_is_decoded(
    bands: Package, engine: OnnxRuntimeCpu, tmp_path: Path
):
    found = content(tmp_path, ct(ramp(), Modality="MR"))
    (tmp_path / "000.dcm").write_bytes((tmp_path / "000.dcm").read_bytes()[:-4])
    with pytest.raises(NotEligible) as caught:
        analysed(bands, engine, found)
    assert caught.value.reasons == ["The values are in no known unit; the model needs HU."]


def test_geometry_limits_are_the_model_s(engine: OnnxRuntimeCpu, bands: Package, tmp_path: Path):
    accepts = bands.manifest.accepts.model_copy(update={"geometry": "regular", "slices_min": 9})
    strict = Package(
        root=bands.root,
        manifest=bands.manifest.model_copy(update={"accepts": accepts}),
        digest=bands.digest,
    )
    found = content(tmp_path, *(ct(ramp(), z_mm=z) for z in (0.0, 2.5, 5.0, 10.0)))
    with pytest.raises(NotEligible) as caught:
        analysed(strict, engine, found)
    assert caught.value.reasons == [
        "It has 4 slices; the model needs at least 9.",
        "The model needs a regular series, and this one is not: "
        "1 slice is missing: one gap is 5.0 mm where slices are 2.5 mm apart.",
    ]


def test_broken_pixels_are_a_failure_with_its_word(bands: Package, engine: OnnxRuntimeCpu, tmp_path: Path):
    found = content(tmp_path, ct(ramp(), Rows=5))
    with pytest.raises(DecodeError) as caught:
        analysed(bands, engine, found)
    assert caught.value.word == "decode.shape"
    assert "5 x 6" in caught.value.sentence


def test_stored_bytes_that_are_gone_are_the_caller_s_to_try_again(
    bands: Package, engine: OnnxRuntimeCpu, tmp_path: Path
):
    found = content(tmp_path, ct(ramp()))
    (tmp_path / "000.dcm").unlink()
    with pytest.raises(FileNotFoundError):
        analysed(bands, engine, found)


class _Broken:
    """An engine that answers nonsense, or not at all."""

    name = "broken"

    def __init__(self, answer: dict[str, np.ndarray] | InferenceError):
        self.answer = answer

    def infer(self, _batch: object, *, deadline_seconds: float) -> dict[str, np.ndarray]:
        assert deadline_seconds > 0
        if isinstance(self.answer, InferenceError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (InferenceError("inference.deadline", "too late"), "inference.deadline"),
        ({"labels": np.zeros((1, 1, 2, 2), np.uint8)}, "inference.answer"),
        ({"labels": np.full((1, 1, 4, 6), 77, np.uint8)}, "inference.answer"),
        ({}, "inference.answer"),
    ],
)
def test_an_engine_that_fails_is_a_failure_with_its_word(
    bands: Package, tmp_path: Path, answer: Any, word: str
):
    found = content(tmp_path, ct(ramp()))
    with pytest.raises(AnalysisFailed) as caught:
        analysed(bands, _Broken(answer), found)
    assert caught.value.word == word


def test_the_engine_s_time_is_bounded_over_all_calls(bands: Package, engine: OnnxRuntimeCpu, tmp_path: Path):
    found = content(tmp_path, *(ct(np.zeros((256, 256), "u2"), z_mm=float(z)) for z in range(40)))
    with pytest.raises(AnalysisFailed) as caught:
        analysed(bands, engine, found, limits=WorkerLimits(inference_seconds_max=0.0))
    assert caught.value.word == "inference.deadline"


def test_the_phantom_s_bands_equal_numpy(bands: Package, engine: OnnxRuntimeCpu, shared_studies: Path):
    found = instances_from_folder(shared_studies / "ct-phantom-5mm")
    analysis = analysed(bands, engine, found)
    volumes = {m.segment: m.value for m in analysis.findings.measurements if m.name.meaning == "Volume"}
    hounsfield, voxel_ml = independent_hounsfield(shared_studies / "ct-phantom-5mm")
    for name, low, high in (
        ("air", -np.inf, -500),
        ("fat", -190, -30),
        ("soft", -30, 50),
        ("dense-soft", 50, 90),
        ("bone", 300, np.inf),
    ):
        wanted = np.count_nonzero((hounsfield >= low) & (hounsfield < high)) * voxel_ml
        assert volumes[name] == pytest.approx(wanted, abs=0.1)


def independent_hounsfield(folder: Path) -> tuple[np.ndarray, float]:
    """Read the phantom with pydicom alone: Hounsfield units, and mL in a voxel."""
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    rows_mm, columns_mm = slices[0].PixelSpacing
    values = [one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices]
    return np.stack(values), rows_mm * columns_mm * 5.0 / 1000
