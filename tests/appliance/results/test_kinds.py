"""Every kind of finding: built, read back by two libraries to the same findings, and shown by the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, MeasurementReport
from pydicom import Dataset

from appliance.results.drawable import drawable
from appliance.results.encode import encode
from models.findings import Findings, Outcome
from tests.appliance.results.given import (
    LESION,
    MILLILITRE,
    NO_UNITS,
    PROBABILITY,
    VOLUME,
    Series,
    answers,
    bands,
    boxes,
    context,
    lesions,
    nothing,
    number,
    only,
    points,
    radiograph,
    read,
    series,
)
from tests.appliance.results.sr_rules import children, code, faults, groups, hydrates, numbers, shapes

Read = dict[str, list[tuple[str, float, str]]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Hold a kind of finding, and what must come back: numbers by tracking identifier."""

    make: Callable[[Series], Findings]
    series: Callable[[], Series] = series
    expected: Read = field(default_factory=dict)
    outputs: frozenset[str] = frozenset({"sr"})
    hydrates: bool = True


def per_study(made: Series) -> Findings:
    return Findings(
        outcome=Outcome.MEASURED,
        statement="The share of the lesions was measured.",
        measurements=(number(VOLUME, 12.5, MILLILITRE), number(PROBABILITY, 0.25, NO_UNITS)),
    )


def per_lesion_and_study(made: Series) -> Findings:
    return replace(lesions(made.volume), measurements=per_study(made).measurements)


def abstained_with_regions(made: Series) -> Findings:
    return replace(
        lesions(made.volume), outcome=Outcome.ABSTAINED, statement="Uncertain: 2 lesions possible."
    )


VOLUMES = {"lesion 1": ("118565006", 0.406, "mL"), "lesion 2": ("118565006", 0.032, "mL")}
REST = [("103339001", 11.5, "mm"), ("122157", 0.875, "1")]
LESIONS: Read = {name: [first, *REST] for name, first in VOLUMES.items()}
WHOLE: Read = {"whole series": [("118565006", 12.5, "mL"), ("122157", 0.25, "1")]}
BANDS: Read = {
    "bone": [("118565006", 123.456789, "mL"), ("112031", 700.5, "[hnsf'U]")],
    "spongy": [("118565006", 3.5, "mL")],
    "fat": [("118565006", 12.25, "mL")],
}
ANSWERS: Read = {
    "marker": [("122157", 0.97, "1")], "tube": [("122157", 0.02, "1")], "clip": [("122157", 0.5, "1")]
}  # fmt: skip

KINDS = {
    "qualitative finding": Kind(
        make=lambda made: answers(), series=radiograph, expected=ANSWERS, hydrates=False
    ),
    "no finding": Kind(
        make=lambda made: nothing(),
        expected={"whole series": [("images-searched", 6, "{images}")]},
        hydrates=False,
    ),
    "measurement of a label": Kind(make=lambda made: bands(made.volume), expected=BANDS, hydrates=False),
    "measurement of the study": Kind(make=per_study, expected=WHOLE, hydrates=False),
    "region by SEG": Kind(
        make=lambda made: bands(made.volume),
        expected=BANDS,
        outputs=frozenset({"sr", "seg"}),
        hydrates=False,
    ),
    "several lesions": Kind(make=lambda made: lesions(made.volume), expected=LESIONS),
    "values per lesion and study": Kind(
        make=per_lesion_and_study, expected={**LESIONS, **WHOLE}, hydrates=False
    ),
    "box": Kind(
        make=lambda made: boxes(index=2),
        expected={"nodule 1": [("122157", 0.91, "1")], "nodule 2": [("122157", 0.62, "1")]},
    ),
    "point": Kind(make=lambda made: points(index=2), expected={"nodule 1": [("122157", 0.91, "1")]}),
    "point on a radiograph": Kind(
        make=lambda made: points(), series=radiograph, expected={"nodule 1": [("122157", 0.91, "1")]}
    ),
    "abstained with regions": Kind(make=abstained_with_regions, expected=LESIONS),
}


def report(kind: Kind, output: str = "sr") -> Dataset:
    made = kind.series()
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=kind.make(made),
        outputs=kind.outputs | {output},
    )
    return read(only(objects, output)[0])


def as_pydicom_reads(document: Dataset) -> Read:
    found: Read = {}
    for group in groups(document):
        (name,) = children(group, "112039")
        found[name.TextValue] = [
            (
                code(item),
                float(item.MeasuredValueSequence[0].NumericValue),
                item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
            )
            for item in numbers(group)
        ]
    return found


def as_highdicom_reads(document: Dataset) -> Read:
    content = MeasurementReport.from_sequence([Comprehensive3DSR.from_dataset(document)])
    every = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    return {
        str(group.tracking_identifier): [
            (m.name.value, float(m.value), m.unit.value) for m in group.get_measurements()
        ]
        for group in every
    }


def about(found: Read) -> dict[str, list[tuple[str, Any, str]]]:
    return {
        name: [(c, pytest.approx(value, abs=5e-4), unit) for c, value, unit in rows]
        for name, rows in found.items()
    }


@pytest.mark.parametrize("name", list(KINDS))
def test_it_reads_back_to_the_same_findings_and_every_rule_holds(name: str) -> None:
    kind = KINDS[name]
    document = report(kind)
    assert faults(document) == []
    assert as_pydicom_reads(document) == about(kind.expected)
    assert as_highdicom_reads(document) == about(kind.expected)
    if kind.hydrates:
        assert all(hydrates(group) for group in groups(document))


@pytest.mark.parametrize("name", list(KINDS))
def test_with_contours_every_rule_holds_and_every_group_hydrates(name: str) -> None:
    document = report(KINDS[name], "sr-cornerstone")
    assert faults(document) == []
    assert all(hydrates(group) for group in groups(document))
    prefix = "Cornerstone3DTools@^0.1.0:"
    told = as_pydicom_reads(document)
    assert all(identifier.startswith(prefix) for identifier in told)
    # The human label stands behind the tool's name.
    plain = {identifier.removeprefix(prefix).split(":", 1)[1]: rows for identifier, rows in told.items()}
    assert plain == about(KINDS[name].expected)


def test_a_point_is_one_point_at_its_place_in_the_group_and_under_its_number() -> None:
    (group,) = groups(report(KINDS["point"]))
    drawn = [*shapes(group), *shapes(numbers(group)[0])]
    assert [(s.GraphicType, list(s.GraphicData)) for s in drawn] == [("POINT", [20.5, 10.25])] * 2
    assert children(group, "121071")[0].ConceptCodeSequence[0].CodeValue == LESION.value


def test_a_point_is_painted_as_a_cross_that_ends_at_the_border() -> None:
    made = series()
    found = drawable(points(index=2), made.volume.shape).lesions[0]
    plane = found.plane(2, rows=48, columns=40)
    rows, columns = np.nonzero(plane)
    assert (plane[10].sum(), plane[:, 20].sum(), plane.sum()) == (5, 5, 9)
    assert (rows.mean(), columns.mean()) == (10, 20)
    corner = replace(points(index=2).detections[0], box=(0.0, 40.0, 0.0, 40.0))
    at_border = replace(points(index=2), detections=(corner,))
    plane = drawable(at_border, made.volume.shape).lesions[0].plane(2, rows=48, columns=40)
    assert plane[0, 39]
    assert plane.sum() == 5


def test_contours_run_along_the_masks_and_refer_to_no_segmentation() -> None:
    made = series()
    kind = KINDS["region by SEG"]
    document = report(kind, "sr-cornerstone")
    by_name = {children(g, "112039")[0].TextValue.split(":")[-1]: g for g in groups(document)}
    findings = kind.make(made)
    for segment in findings.segments:
        group = by_name[segment.label]
        assert not children(group, "121191")
        (contour,) = shapes(group)
        line = np.array(contour.GraphicData).reshape(-1, 2)
        assert len(line) > 5
        assert (line[0] == line[-1]).all()
        plane = segment.mask[segment.mask.sum(axis=(1, 2)).argmax()]
        rows, columns = np.nonzero(plane)
        assert np.allclose(line.min(axis=0), [columns.min(), rows.min()], atol=0.5)
        assert np.allclose(line.max(axis=0), [columns.max() + 1, rows.max() + 1], atol=0.5)
        assert children(group, "112039")[0].TextValue.startswith(
            "Cornerstone3DTools@^0.1.0:PlanarFreehandROI:"
        )


def test_the_report_with_contours_is_another_object_that_says_the_same() -> None:
    made = series()
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=lesions(made.volume),
        outputs=frozenset({"sr", "sr-cornerstone"}),
    )
    plain, contours = (read(item) for item in objects)
    assert plain.SOPInstanceUID != contours.SOPInstanceUID
    assert plain.SeriesInstanceUID != contours.SeriesInstanceUID
    assert contours.SeriesDescription.startswith("AI contours ")
    assert (contours.PreliminaryFlag, contours.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    uids = [[str(children(g, "112040")[0].UID) for g in groups(one)] for one in (plain, contours)]
    assert uids[0] == uids[1]
    assert list(as_pydicom_reads(plain).values()) == list(as_pydicom_reads(contours).values())
    assert not any("Cornerstone" in name for name in as_pydicom_reads(plain))
