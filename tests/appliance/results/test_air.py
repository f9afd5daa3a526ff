"""IHE AI Results: what is asked of every result, and the page that says what is met (docs/air.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from appliance.results.context import Notice
from appliance.results.encode import encode, encode_notice
from tests.appliance.results import given, sr_rules
from tests.appliance.results.given import context, series

ROOT = Path(__file__).resolve().parents[3]
OUTPUTS = frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf", "kos"})
TABLES = {"Evidence Creator": 2, "What readers make of a result": 1}
_TEST = re.compile(r"`(tests/[\w./]+\.py)(?:::(\w+))?`")


def made(findings=given.lesions, *, outputs=OUTPUTS, **changes):
    one = series()
    return encode(
        context(**changes),
        sources=one.sources,
        volume=one.volume,
        findings=findings(one.volume),
        outputs=frozenset(outputs),
    )


def given_notice():
    notice = Notice(kind="failed", reason="It could not be decoded.", what_to_do="Read without it.")
    return encode_notice(context(), sources=series().sources, notice=notice, outputs=OUTPUTS)


@pytest.fixture(scope="module")
def lesions():
    return made()


@pytest.fixture(scope="module")
def bands():
    return made(given.bands)


def report(objects) -> Dataset:
    (only,) = given.only(objects, "sr")
    return given.read(only)


def coded(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def evidence(document: Dataset) -> set[str]:
    return {
        str(item.ReferencedSOPInstanceUID)
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    }


def groups(document: Dataset) -> list[Dataset]:
    return [item for item in walk(document) if coded(item) == "125007"]


def named(group: Dataset, code: str) -> list[Dataset]:
    return [item for item in group.ContentSequence if coded(item) == code]


def test_every_object_names_the_algorithm_as_processing_equipment(lesions):
    notice = given_notice()
    kinds = {item.output for item in (*lesions, *notice)}
    assert kinds >= {"sr", "seg", "gsps", "sc", "text-sr", "pdf"}
    for item in (*lesions, *notice):
        (equipment,) = given.read(item).ContributingEquipmentSequence
        purpose = equipment.PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodingSchemeDesignator, purpose.CodeValue) == ("DCM", "109102")
        assert equipment.Manufacturer
        assert equipment.ManufacturerModelName
        assert any("ct-tissue-bands 1.0.0" in text for text in equipment.SoftwareVersions)
        assert equipment.DeviceUID == context().provenance.model_device_uid


def test_a_changed_model_is_another_device_and_nothing_else_is():
    who = context().provenance
    assert replace(who, model_digest="sha256:" + "77" * 32).model_device_uid != who.model_device_uid
    for change in ({"engine": "another"}, {"product_version": "9.9.9"}, {"site_name": "Elsewhere"}):
        assert replace(who, **change).model_device_uid == who.model_device_uid


def test_the_report_is_a_comprehensive_3d_sr_after_tid_1500(lesions):
    document = report(lesions)
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert coded(document) == "126000"
    template = document.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")


def test_procedure_reported_is_the_imaging_procedure(lesions):
    (procedure,) = [item for item in walk(report(lesions)) if coded(item) == "121058"]
    value = procedure.ConceptCodeSequence[0]
    assert (value.CodingSchemeDesignator, value.CodeValue) == ("LN", "25045-6")


@pytest.mark.parametrize("findings", ["lesions", "bands"])
def test_every_measurement_has_a_coded_concept_and_a_unit(request, findings):
    numbers = [
        item for item in walk(report(request.getfixturevalue(findings))) if item.get("ValueType") == "NUM"
    ]
    assert numbers
    for number in numbers:
        assert coded(number)
        for value in number.MeasuredValueSequence:
            unit = value.MeasurementUnitsCodeSequence[0]
            assert (unit.CodingSchemeDesignator, bool(unit.CodeValue)) == ("UCUM", True)


def test_the_report_refers_to_every_segment_with_numbers(bands):
    (seg,) = given.only(bands, "seg")
    segments = {int(item.SegmentNumber) for item in given.read(seg).SegmentSequence}
    referred = {
        int(reference.ReferencedSegmentNumber)
        for item in walk(report(bands))
        if coded(item) == "121191"
        for reference in item.ReferencedSOPSequence
        if reference.ReferencedSOPInstanceUID == seg.sop_instance_uid
    }
    assert referred == segments


@pytest.mark.parametrize("findings", ["lesions", "bands"])
def test_every_finding_is_tracked_by_an_identifier_of_its_own(request, findings):
    found = groups(report(request.getfixturevalue(findings)))
    texts = [named(group, "112039")[0].TextValue for group in found]
    uids = [named(group, "112040")[0].UID for group in found]
    assert all(texts)
    assert len(set(uids)) == len(uids) == len(found) > 1


@pytest.mark.parametrize("findings", ["lesions", "bands"])
def test_every_finding_names_its_algorithm(request, findings):
    for group in groups(report(request.getfixturevalue(findings))):
        said = {
            code: [item.TextValue for item in walk(group) if coded(item) == code]
            for code in ("111001", "111003")
        }
        assert said == {"111001": ["ct-tissue-bands"], "111003": ["1.0.0"]}


def test_the_evidence_is_every_image_and_the_segmentation(bands):
    (seg,) = given.only(bands, "seg")
    assert evidence(report(bands)) == {str(source.SOPInstanceUID) for source in series().sources} | {
        seg.sop_instance_uid
    }


@pytest.mark.parametrize("findings", [given.lesions, given.bands])
@pytest.mark.parametrize("kind", ["sr", "sr-cornerstone"])
def test_a_heat_map_is_reached_from_every_finding_of_its_label(findings, kind):
    objects = made(lambda volume: given.mapped(findings(volume)), outputs={"sr", "sr-cornerstone", "pmap"})
    (item,) = given.only(objects, kind)
    document = given.read(item)
    assert sr_rules.faults(document) == []
    maps = {given.read(one).ContentDescription: one.sop_instance_uid for one in given.only(objects, "pmap")}
    labels = {
        name: uid for said, uid in maps.items() for name in ("bone", "spongy", "lesion") if name in said
    }
    assert len(labels) == len(maps)
    reached = set()
    for group in groups(document):
        found = [image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for image in named(group, "121200")]
        label = named(group, "112039")[0].TextValue.split(":")[-1].split()[0]
        assert found == ([labels[label]] if label in labels else [])
        reached.update(found)
    assert reached == set(maps.values()) <= evidence(document)


def test_a_heat_map_of_a_label_of_which_nothing_was_found_is_reached_from_the_whole_series():
    mapped = given.mapped(given.lesions(series().volume))
    findings = replace(given.nothing(), maps=mapped.maps)
    objects = made(lambda _: findings, outputs={"sr", "pmap"})
    (item,) = given.only(objects, "pmap")
    (group,) = groups(report(objects))
    (image,) = named(group, "121200")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == item.sop_instance_uid


@pytest.mark.parametrize("outputs", [{"sr"}, {"sr", "seg", "pmap"}])
def test_a_heat_map_that_is_not_made_is_not_referred_to(outputs):
    findings = given.bands if "pmap" in outputs else lambda volume: given.mapped(given.bands(volume))
    document = report(made(findings, outputs=outputs))
    assert not [item for item in walk(document) if coded(item) == "121200"]
    assert "1.2.840.10008.5.1.4.1.1.30" not in str(document)


@pytest.mark.parametrize(
    ("findings", "reached"),
    [(given.lesions, {"pmap"}), (given.bands, {"pmap", "seg"})],
    ids=["lesions", "bands"],
)
def test_what_the_profile_covers_is_one_tree_with_the_report_as_its_root(findings, reached):
    objects = made(lambda volume: given.mapped(findings(volume)), outputs={"sr", "seg", "pmap"})
    document = report(objects)
    named_by_root = [item for item in objects if item.sop_instance_uid in evidence(document)]
    assert {item.output for item in named_by_root} == {"seg", "pmap"}
    assert len(named_by_root) == len(objects) - 1
    in_content = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in walk(document)
        if "ReferencedSOPSequence" in item
    }
    assert {item.output for item in objects if item.sop_instance_uid in in_content} == reached
    # No other object refers to one of the result: there is no second root and no circle.
    uids = {item.sop_instance_uid for item in objects}
    for item in named_by_root:
        named = {str(e.value) for e in given.read(item).iterall() if e.keyword == "ReferencedSOPInstanceUID"}
        assert named
        assert not named & uids


@pytest.mark.parametrize("findings", ["lesions", "bands"])
def test_every_place_is_an_image_region_of_its_group_or_a_segment(request, findings):
    located = 0
    for group in groups(report(request.getfixturevalue(findings))):
        regions, segments = named(group, "111030"), named(group, "121191")
        under = [shape for number in sr_rules.numbers(group) for shape in sr_rules.shapes(number)]
        if regions or segments:
            located += 1
            assert len(regions) + len(segments) == 1
            assert all(region.ValueType == "SCOORD" for region in regions)
            continue
        # A label without a place: viewers need somewhere to write its number, and nothing lies there.
        assert {shape.GraphicType for shape in under} == {"POINT"}
        assert not sr_rules.hydrates(group), "a viewer would measure the corner of the image instead"
    assert located == 2


def test_pictures_come_besides_the_report_and_never_in_its_place(lesions, bands):
    for objects in (lesions, bands):
        assert len(given.only(objects, "sr")) == 1
        assert given.only(objects, "sc")
        assert given.only(objects, "gsps")


def rows() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Every row of the page's tables of requirements: what it says, its state, the tests it names."""
    found, state_at = [], 0
    for line in (ROOT / "docs" / "air.md").read_text().splitlines():
        if line.startswith("## "):
            state_at = TABLES.get(line[3:], 0)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if (
            state_at
            and line.startswith("|")
            and cells[state_at] != "State"
            and set(cells[0]) - {"-"} | set(cells[1]) - {"-"}
        ):
            found.append((cells[state_at - 1], cells[state_at], _TEST.findall(cells[-1])))
    return found


def runs(path: str, name: str) -> bool:
    """Say whether a test is there and is one that runs by default."""
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if not name:
        return any(each.startswith("test_") for each in functions)
    marks = (
        [ast.unparse(mark) for mark in functions[name].decorator_list] if name in functions else ["absent"]
    )
    return not any(word in mark for mark in marks for word in ("absent", "skip", "long", "xfail"))


def test_the_page_says_of_every_requirement_whether_it_is_met():
    assert len(rows()) > 30
    assert {state for _, state, _ in rows()} == {"met", "partly", "not"}


def test_what_the_page_calls_met_is_held_by_a_test_that_runs():
    unheld = [what for what, state, tests in rows() if state == "met" and not tests]
    assert not unheld
    gone = [f"{path}::{name}" for _, _, tests in rows() for path, name in tests if not runs(path, name)]
    assert not gone
