"""The rules can fail: a good report that is spoilt in one place is found to be."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from pydicom import Dataset

from appliance.results.encode import encode
from tests.appliance.results.given import context, lesions, only, read, series
from tests.appliance.results.sr_rules import children, faults, groups, hydrates, numbers, shapes


@pytest.fixture(scope="module")
def good() -> Dataset:
    made = series()
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=lesions(made.volume),
        outputs=frozenset({"sr"}),
    )
    return read(only(objects, "sr")[0])


def without(item: Dataset, child: Dataset) -> None:
    item.ContentSequence = [c for c in item.ContentSequence if c is not child]


def retitle(report: Dataset) -> None:
    report.ConceptNameCodeSequence[0].CodeValue = "18748-4"


def another_template(report: Dataset) -> None:
    report.ContentTemplateSequence[0].TemplateIdentifier = "1501"


def translate(report: Dataset) -> None:
    children(report, "126010")[0].ConceptNameCodeSequence[0].CodeMeaning = "Bildmessungen"


def untrack(report: Dataset) -> None:
    group = groups(report)[0]
    without(group, children(group, "112040")[0])


def another_uid_first(report: Dataset) -> None:
    group = groups(report)[0]
    other = deepcopy(children(group, "112040")[0])
    other.ConceptNameCodeSequence[0].CodeValue = "121232"
    group.ContentSequence = [other, *group.ContentSequence]


def one_uid_twice(report: Dataset) -> None:
    first, second = groups(report)[:2]
    children(second, "112040")[0].UID = children(first, "112040")[0].UID


def unname(report: Dataset) -> None:
    del shapes(groups(report)[0])[0].ConceptNameCodeSequence


def undraw(report: Dataset) -> None:
    group = groups(report)[0]
    for number in numbers(group):
        del number.ContentSequence
    without(group, shapes(group)[0])


def lose_the_image(report: Dataset) -> None:
    del shapes(groups(report)[0])[0].ContentSequence


def draw_on_another_study(report: Dataset) -> None:
    image = children(shapes(groups(report)[0])[0])[0]
    image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def draw_twice(report: Dataset) -> None:
    group = groups(report)[0]
    group.ContentSequence = [*group.ContentSequence, deepcopy(shapes(group)[0])]


def draw_in_space(report: Dataset) -> None:
    shapes(groups(report)[0])[0].ValueType = "SCOORD3D"


def rename_the_region(report: Dataset) -> None:
    shapes(groups(report)[0])[0].ConceptNameCodeSequence[0].CodeValue = "121055"


def bare_first_number(report: Dataset) -> None:
    del numbers(groups(report)[0])[0].ContentSequence


def move_one_shape(report: Dataset) -> None:
    shapes(numbers(groups(report)[0])[1])[0].GraphicData = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def select_the_number_from_it(report: Dataset) -> None:
    shapes(numbers(groups(report)[0])[0])[0].RelationshipType = "CONTAINS"


SPOILT: dict[str, list[Callable[[Dataset], None]]] = {
    "R1": [retitle, another_template],
    "R2": [translate],
    "R3": [untrack, another_uid_first],
    "R4": [one_uid_twice],
    "R5": [unname],
    "R6": [undraw, lose_the_image, draw_on_another_study],
    "R7": [draw_twice],
    "R8": [draw_in_space],
    "R10": [rename_the_region],
    "R12": [bare_first_number, select_the_number_from_it],
    "R13": [move_one_shape],
}


def test_the_report_itself_breaks_no_rule(good: Dataset) -> None:
    assert faults(good) == []
    assert all(hydrates(group) for group in groups(good))


@pytest.mark.parametrize(
    ("rule", "spoil"), [(rule, spoil) for rule, many in SPOILT.items() for spoil in many]
)
def test_each_rule_is_broken_by_what_breaks_it(
    good: Dataset, rule: str, spoil: Callable[[Dataset], None]
) -> None:
    report = deepcopy(good)
    spoil(report)
    assert any(rule in fault for fault in faults(report)), faults(report)


def test_a_report_without_groups_is_an_empty_viewport(good: Dataset) -> None:
    report = deepcopy(good)
    children(report, "126010")[0].ContentSequence = []
    assert "R6: there is no group" in faults(report)


def test_a_contour_with_a_plain_identifier_does_not_hydrate(good: Dataset) -> None:
    report = deepcopy(good)
    group = groups(report)[0]
    for shape in (*shapes(group), *(s for n in numbers(group) for s in shapes(n))):
        shape.GraphicData = [0.0, 0.0, 4.0, 0.0, 5.0, 2.0, 4.0, 4.0, 0.0, 4.0, 0.0, 0.0]
    assert not hydrates(group)
    children(group, "112039")[0].TextValue = "Cornerstone3DTools@^0.1.0:PlanarFreehandROI:lesion 1"
    assert hydrates(group)
