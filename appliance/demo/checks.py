"""Check what came back against the images that were sent, without asking the box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from appliance.demo.pacs import Came
from appliance.demo.study import MadeStudy

# Half-open bands in HU, as the card of ct-tissue-bands states them.
BANDS: Mapping[str, tuple[float, float]] = {
    "air": (-np.inf, -500),
    "fat": (-190, -30),
    "soft": (-30, 50),
    "dense-soft": (50, 90),
    "bone": (300, np.inf),
}
_TOLERANCE_ML = 0.1


def faults(study: MadeStudy, came: Sequence[Came]) -> list[str]:
    """Return a sentence for everything that is wrong with the results; nothing when all is well."""
    read = [pydicom.dcmread(one.path) for one in came]
    found = [f"{_named(ds)}: {fault}" for ds in read for fault in _common_faults(study, ds)]
    if len({ds.SOPInstanceUID for ds in read}) != len(read):
        found.append("an object came twice")
    reports = [ds for ds in read if ds.Modality == "SR" and "ct-tissue-bands" in ds.SeriesDescription]
    found += ["no report of ct-tissue-bands came"] if not reports else _volume_faults(study, reports[0])
    if not any(ds.Modality == "SR" and "ct-phantom-lesion" in ds.SeriesDescription for ds in read):
        found.append("no report of ct-phantom-lesion came")
    return found


def _named(dataset: Dataset) -> str:
    return f"{dataset.Modality} {dataset.get('SeriesDescription', '')}"


def _common_faults(study: MadeStudy, dataset: Dataset) -> Iterator[str]:
    if dataset.StudyInstanceUID != study.study_uid:
        yield "belongs to another study"
    if "not for primary diagnosis" not in dataset.SeriesDescription:
        yield "does not say that it is not for primary diagnosis"
    if "ContributingEquipmentSequence" not in dataset:
        yield "does not say what made it"
    if dataset.SeriesDescription.startswith("NOT ANALYSED"):
        yield "says that a model did not run, and both should"
    if dataset.Modality == "SR" and (dataset.get("VerificationFlag"), dataset.get("PreliminaryFlag")) != (
        "UNVERIFIED",
        "PRELIMINARY",
    ):
        yield "is not marked as unverified and preliminary"


def expected_volumes_ml(study: MadeStudy) -> dict[str, float]:
    """Return the volume of each band in mL, counted in the images that were sent."""
    voxel_ml = float(np.prod(study.spacing_mm)) / 1000.0
    return {
        name: int(((study.hu >= low) & (study.hu < high)).sum()) * voxel_ml
        for name, (low, high) in BANDS.items()
    }


def _volume_faults(study: MadeStudy, report: Dataset) -> list[str]:
    reported = sorted(_volumes_ml(report))
    expected = sorted(expected_volumes_ml(study).values())
    if len(reported) != len(expected):
        return [f"the report has {len(reported)} volumes, not {len(expected)}"]
    off = [abs(a - b) for a, b in zip(reported, expected, strict=True)]
    return [f"a volume is off by {max(off):.2f} mL"] if max(off) > _TOLERANCE_ML else []


def _volumes_ml(item: Dataset) -> Iterator[float]:
    """Yield every volume in mL that a report's tree holds."""
    for child in item.get("ContentSequence", []):
        if child.ValueType == "NUM" and child.MeasuredValueSequence:
            measured = child.MeasuredValueSequence[0]
            if measured.MeasurementUnitsCodeSequence[0].CodeValue == "mL":
                yield float(measured.NumericValue)
        yield from _volumes_ml(child)
