"""Independent judges: dciodvfy finds no error in any object, dsrdump and dcmpschk read what is theirs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from appliance.results.context import EncodedObject, Reference
from appliance.results.encode import encode, encode_notice
from models.tensors import Volume
from tests.appliance.results.given import (
    Series,
    answers,
    bands,
    boxes,
    context,
    ct_header,
    lesions,
    multiframe,
    nothing,
    only,
    points,
    radiograph,
    read,
    series,
    write,
)
from tests.appliance.results.test_page import NOTICE

ALL = frozenset({"sr", "sr-cornerstone", "seg", "gsps", "sc", "text-sr", "pdf", "kos", "iocm"})
# How a series lies does not matter to the others.
COMMON = frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf"})
_SECONDS_MAX = 60
_MAY_BE_MISSING = (
    "PatientID", "PatientName", "PatientSex", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "SliceThickness", "SpecificCharacterSet",
    "BodyPartExamined", "WindowCenter", "WindowWidth", "InstanceNumber",
)  # fmt: skip


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed: no independent judge of the objects")
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_SECONDS_MAX)


def bare() -> Dataset:
    """Make a header without anything that a scanner may leave out."""
    header = ct_header()
    for keyword in _MAY_BE_MISSING:
        header.pop(keyword, None)
    return header


SERIES = {
    "axial": lambda: series(),
    "tilted": lambda: series(shear_mm=0.9),
    "irregular": lambda: series(steps_mm=[4.2, 7.4, 1.1, 5.0, 5.0]),
    "sagittal": lambda: series("sagittal"),
    "multi-frame": lambda: multiframe(series()),
    "bare": lambda: series(header=bare()),
}


RADIOGRAPHS = {"detector spacing": lambda: radiograph(), "no spacing": lambda: radiograph(spacing=False)}


@pytest.mark.parametrize("kind", list(RADIOGRAPHS))
def test_every_object_of_a_radiograph_is_valid(kind, tmp_path):
    made = RADIOGRAPHS[kind]()
    objects = [
        item
        for route, findings in (("boxes", boxes()), ("answers", answers()), ("nothing", nothing()))
        for item in encode(
            context(route=route), sources=made.sources, volume=made.volume, findings=findings, outputs=ALL
        )
    ]
    assert {item.output for item in objects} == ALL - {"seg", "iocm"}
    assert_valid(objects, tmp_path)


def results(made: Series, outputs: frozenset[str] = ALL) -> list[EncodedObject]:
    """Encode every kind of answer for one series."""
    objects = []
    old = Reference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.10",
        series_uid="2.25.11",
        study_uid=str(made.sources[0].StudyInstanceUID),
    )
    given = context(study_uid=str(made.sources[0].StudyInstanceUID), supersedes=(old,))
    for route, findings in (
        ("bands", bands(made.volume)),
        ("lesions", lesions(made.volume)),
        ("nothing", nothing()),
        ("boxes", boxes(index=2)),
        ("points", points(index=2)),
        ("answers", answers()),
    ):
        objects += encode(
            replace(given, route=route),
            sources=made.sources,
            volume=made.volume,
            findings=findings,
            outputs=outputs,
        )
    return [*objects, *encode_notice(given, sources=made.sources, notice=NOTICE, outputs=outputs)]


def assert_valid(objects: list[EncodedObject], folder: Path) -> None:
    for number, item in enumerate(objects):
        path = str(write(item, folder, f"{number:02}-{item.output}"))
        judged = run("dciodvfy", "-new", path)
        assert "Error" not in judged.stderr + judged.stdout, f"{path}\n{judged.stderr}"
        if item.modality == "SR":
            shown = run("dsrdump", path)
            assert shown.returncode == 0, shown.stderr
            assert "E: " not in shown.stderr
            assert "PRELIMINARY" in shown.stdout
            assert "UNVERIFIED" in shown.stdout
        if item.modality == "KO":
            shown = run("dsrdump", "+Pl", path)
            assert shown.returncode == 0, shown.stderr
            assert "E: " not in shown.stderr
            assert "Key Object Description" in shown.stdout
        # This judge wants a value in every Type 2 attribute: a study without a name is not brought to it.
        if item.modality == "PR" and read(item).PatientName:
            checked = run("dcmpschk", path)
            assert "Test passed" in checked.stdout + checked.stderr, checked.stderr


@pytest.mark.parametrize("kind", list(SERIES))
def test_every_object_is_valid(kind, tmp_path):
    outputs = ALL if kind in ("axial", "multi-frame", "bare") else COMMON
    assert_valid(results(SERIES[kind](), outputs), tmp_path)


@pytest.mark.parametrize("study", ["ct-phantom-5mm", "ct-head-tilted"])
def test_every_object_of_a_real_study_is_valid(study, shared_studies, tmp_path):
    made = real(shared_studies / study)
    objects = results(made, COMMON)
    assert_valid(objects, tmp_path)
    assert only(objects, "seg")
    assert only(objects, "gsps")


def real(folder: Path) -> Series:
    """Read the headers of a real study, ordered by position; the pixels do not matter here."""
    sources: list[Dataset] = [dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    cosines = np.array(sources[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    sources.sort(key=lambda s: float(normal @ np.array(s.ImagePositionPatient, dtype=float)))
    positions = np.array([s.ImagePositionPatient for s in sources], dtype=float)
    shape = (len(sources), int(sources[0].Rows), int(sources[0].Columns))
    volume = Volume(
        voxels=np.zeros(shape, dtype=np.float32),
        valid=np.ones(shape, dtype=np.bool_),
        positions=positions,
        row_cosines=cosines[:3],
        column_cosines=cosines[3:],
        pixel_spacing_mm=(float(sources[0].PixelSpacing[0]), float(sources[0].PixelSpacing[1])),
        slice_spacing_mm=float(np.median(np.diff(positions @ normal))),
        regular=False,
    )
    return Series(sources=sources, volume=volume)
