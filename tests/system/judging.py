"""Independent judges of DICOM objects, dciodvfy and dsrdump; what a report says, read with pydicom alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from tests.system.programs import run


def judge(paths: Sequence[Path]) -> None:
    """Let dciodvfy look at every object and dsrdump at every report; none may have an error."""
    assert paths, "nothing came that could be judged"
    for path in paths:
        verdict = run("dciodvfy", "-new", path)
        errors = [line for line in (verdict.stdout + verdict.stderr).splitlines() if line.startswith("Error")]
        assert not errors, f"{path}: {errors}"
        if pydicom.dcmread(path, specific_tags=["Modality"]).Modality == "SR":
            shown = run("dsrdump", path)
            assert shown.returncode == 0, shown.stderr
            assert "E: " not in shown.stderr
            assert "PRELIMINARY" in shown.stdout
            assert "UNVERIFIED" in shown.stdout


def kinds(paths: Sequence[Path]) -> list[str]:
    """Return what kind of result each object is, sorted: sr, seg, sc, text-sr, gsps or pdf."""
    names = {
        "1.2.840.10008.5.1.4.1.1.88.34": "sr",
        "1.2.840.10008.5.1.4.1.1.66.4": "seg",
        "1.2.840.10008.5.1.4.1.1.7": "sc",
        "1.2.840.10008.5.1.4.1.1.88.22": "text-sr",
        "1.2.840.10008.5.1.4.1.1.11.1": "gsps",
        "1.2.840.10008.5.1.4.1.1.104.1": "pdf",
    }
    return sorted(names[pydicom.dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID] for path in paths)


def reports(paths: Sequence[Path]) -> list[Dataset]:
    """Return the Comprehensive 3D SR documents among objects."""
    read = [pydicom.dcmread(path) for path in paths]
    return [dataset for dataset in read if dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"]


def texts(dataset: Dataset) -> str:
    """Return every text that a report's tree holds, one a line."""
    return "\n".join(str(item.TextValue) for item in tree(dataset) if item.get("ValueType") == "TEXT")


def tree(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below one, in reading order."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from tree(child)


def predecessors(dataset: Dataset) -> set[str]:
    """Return the SOP Instance UIDs that a report says it replaces (PS3.3 C.17.2)."""
    return {
        str(sop.ReferencedSOPInstanceUID)
        for study in dataset.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
