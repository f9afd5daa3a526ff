"""Every kind of output of every outcome: which are made, no judge finds an error, all read back the same.

The judges are dciodvfy for all, dsrdump for documents, dcmpschk for presentation states; highdicom opens what
it has a reader for, pydicom everything. Other series than the plain one are in `test_validators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from highdicom.ko import KeyObjectSelectionDocument
from highdicom.pm import ParametricMap
from highdicom.seg import Segmentation
from highdicom.sr import Comprehensive3DSR, EnhancedSR
from pydicom import Dataset
from scipy import ndimage

from appliance.core.outputs import OUTPUTS
from appliance.results.context import EncodedObject, Notice
from appliance.results.drawable import drawable
from appliance.results.encode import encode, encode_notice
from models.findings import Findings, Outcome
from tests.appliance.results.given import (
    Series,
    answers,
    bands,
    boxes,
    context,
    lesions,
    mapped,
    nothing,
    only,
    points,
    radiograph,
    read,
    series,
    write,
)
from tests.appliance.results.test_honesty import text_of
from tests.appliance.results.test_keyobjects import evidence, references
from tests.appliance.results.test_kinds import (
    ANSWERS,
    BANDS,
    LESIONS,
    WHOLE,
    Read,
    about,
    abstained_with_regions,
    as_highdicom_reads,
    as_pydicom_reads,
    per_study,
)
from tests.appliance.results.test_page import NOTICE
from tests.appliance.results.test_parametric import planes_of
from tests.appliance.results.test_presentation import drawn, slice_of
from tests.appliance.results.test_rejection import old
from tests.appliance.results.test_validators import assert_valid, run

EVERY = frozenset(OUTPUTS)
# What is made of an answer without regions, of one that has only numbers, of one that points, and of a mask.
WORDS = frozenset({"text-sr", "sc", "pdf", "iocm"})
NUMBERS = WORDS | {"sr", "sr-cornerstone"}
POINTS = NUMBERS | {"gsps", "kos"}
SEGS = ("seg", "seg-fractional", "seg-labelmap")
NODULES: Read = {"nodule 1": [("122157", 0.91, "1")], "nodule 2": [("122157", 0.62, "1")]}
SEARCHED: Read = {"whole series": [("images-searched", 6, "{images}")]}
_PREFIX = "Cornerstone3DTools@^0.1.0:"
# Of label maps dciodvfy knows nothing: it is older than they are.
_TOO_OLD = ("Information Object Not found", "SegmentNumber of 0")
# highdicom has no reader for the other kinds.
READERS: dict[str, Callable[[Dataset], Dataset]] = {
    "sr": Comprehensive3DSR.from_dataset,
    "sr-cornerstone": Comprehensive3DSR.from_dataset,
    "text-sr": EnhancedSR.from_dataset,
    "pmap": ParametricMap.from_dataset,
    "kos": KeyObjectSelectionDocument.from_dataset,
    "iocm": KeyObjectSelectionDocument.from_dataset,
    **dict.fromkeys(SEGS, Segmentation.from_dataset),
}


def unsure(made: Series) -> Findings:
    return replace(nothing(), outcome=Outcome.ABSTAINED, statement="The answer is not certain enough.")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Hold an outcome: its findings, or none for a notice; the kinds made of it; what must be read back."""

    make: Callable[[Series], Findings] | None = None
    series: Callable[[], Series] = series
    kinds: frozenset[str]
    says: str
    numbers: Read = field(default_factory=dict)


CASES = {
    "finding": Case(
        make=lambda made: mapped(lesions(made.volume)),
        kinds=EVERY,
        says="FINDING: 2 dense lesions were marked.",
        numbers=LESIONS,
    ),
    "finding, boxes": Case(
        make=lambda made: boxes(2), kinds=POINTS, says="FINDING: 2 nodules were marked.", numbers=NODULES
    ),
    "finding, a point": Case(
        make=lambda made: points(2),
        kinds=POINTS,
        says="FINDING: 1 nodule was marked.",
        numbers={"nodule 1": NODULES["nodule 1"]},
    ),
    "finding, labels": Case(
        make=lambda made: answers(),
        series=radiograph,
        kinds=NUMBERS,
        says="FINDING: A marker is present.",
        numbers=ANSWERS,
    ),
    "no finding": Case(
        make=lambda made: nothing(),
        kinds=NUMBERS,
        says="NO FINDING: No dense lesion was marked.",
        numbers=SEARCHED,
    ),
    "measured": Case(
        make=lambda made: mapped(bands(made.volume)),
        kinds=EVERY,
        says="MEASURED: Volumes of three tissue bands were measured.",
        numbers=BANDS,
    ),
    "measured, the study": Case(
        make=per_study, kinds=NUMBERS, says="MEASURED: The share of the lesions was measured.", numbers=WHOLE
    ),
    "abstained": Case(make=unsure, kinds=WORDS, says="ABSTAINED: The answer is not certain enough."),
    "abstained, with regions": Case(
        make=lambda made: mapped(abstained_with_regions(made)),
        kinds=EVERY,
        says="ABSTAINED: Uncertain: 2 lesions possible.",
        numbers=LESIONS,
    ),
    **{
        kind: Case(kinds=WORDS, says=f"NOT ANALYSED ({kind}). This is not a negative result.")
        for kind in ("not eligible", "failed", "not run")
    },
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """Hold what was encoded of an outcome, and of what."""

    case: Case
    series: Series
    findings: Findings | None
    objects: list[EncodedObject]

    def of(self, *outputs: str) -> list[tuple[EncodedObject, Dataset]]:
        return [(item, read(item)) for output in outputs for item in only(self.objects, output)]

    def masks(self) -> np.ndarray:
        """Give all that is marked, bool (z, y, x), with holes filled as outlines do."""
        assert self.findings is not None
        shown = drawable(self.findings, self.series.volume.shape)
        whole = np.zeros(self.series.volume.shape, dtype=np.bool_)
        for part in shown.segments:
            whole |= np.stack([ndimage.binary_fill_holes(plane) for plane in part.mask])
        for one in shown.lesions:
            for z in one.slice_range:
                whole[z] |= one.plane(z, rows=whole.shape[1], columns=whole.shape[2])
        return whole


@cache
def made(name: str) -> Made:
    """Encode an outcome in every kind, as one that replaces a former result."""
    case = CASES[name]
    on = case.series()
    given = context(run=2, route=name, supersedes=old("sr", "seg"))
    if case.make is None:
        told: Notice = replace(NOTICE, kind=name)  # type: ignore[arg-type]
        objects = encode_notice(given, sources=on.sources, notice=told, outputs=EVERY)
        return Made(case=case, series=on, findings=None, objects=objects)
    findings = case.make(on)
    objects = encode(given, sources=on.sources, volume=on.volume, findings=findings, outputs=EVERY)
    return Made(case=case, series=on, findings=findings, objects=objects)


def with_kind(*kinds: str) -> Iterable[str]:
    return [name for name, case in CASES.items() if case.kinds & set(kinds)]


def test_every_outcome_of_the_design_is_here() -> None:
    told = {said.split(":")[0].split(".")[0] for said in (case.says for case in CASES.values())}
    assert told == {"FINDING", "NO FINDING", "MEASURED", "ABSTAINED"} | {
        f"NOT ANALYSED ({kind})" for kind in ("not eligible", "failed", "not run")
    }


@pytest.mark.parametrize("name", list(CASES))
def test_the_kinds_that_are_made_of_it(name: str) -> None:
    assert {item.output for item in made(name).objects} == CASES[name].kinds


@pytest.mark.parametrize("name", list(CASES))
def test_no_judge_finds_an_error(name: str, tmp_path: Path) -> None:
    objects = made(name).objects
    assert_valid([item for item in objects if item.output != "seg-labelmap"], tmp_path)
    for item in only(objects, "seg-labelmap"):
        judged = run("dciodvfy", "-new", str(write(item, tmp_path, "labels")))
        errors = [line for line in (judged.stderr + judged.stdout).splitlines() if "Error" in line]
        assert len(errors) == len(_TOO_OLD)
        assert all(any(known in line for known in _TOO_OLD) for line in errors), errors


@pytest.mark.parametrize("name", list(CASES))
def test_the_answer_is_read_back_in_its_words(name: str) -> None:
    one = made(name)
    for item, document in one.of("sr", "sr-cornerstone", "text-sr", "pdf", "gsps"):
        text = text_of(item)
        if item.output == "gsps":
            text = " ".join(str(e.value) for e in document.iterall() if e.keyword == "UnformattedTextValue")
        assert one.case.says in text, item.output
    for _, picture in one.of("sc"):
        assert np.unique(picture.pixel_array).size > 1


@pytest.mark.parametrize("name", list(CASES))
def test_highdicom_opens_every_kind_it_can_read(name: str) -> None:
    for item, document in made(name).of(*READERS):
        opened = READERS[item.output](document)
        assert opened.SOPInstanceUID == item.sop_instance_uid


@pytest.mark.parametrize("name", with_kind("sr"))
def test_its_numbers_are_read_back_by_both_libraries(name: str) -> None:
    for item, document in made(name).of("sr", "sr-cornerstone"):
        for found in (as_pydicom_reads(document), as_highdicom_reads(document)):
            plain = found
            if item.output == "sr-cornerstone":
                plain = {key.removeprefix(_PREFIX).split(":", 1)[1]: rows for key, rows in found.items()}
            assert plain == about(CASES[name].numbers)


@pytest.mark.parametrize("name", with_kind("seg"))
def test_its_masks_are_read_back_from_every_segmentation(name: str) -> None:
    one = made(name)
    assert one.findings is not None
    uids = [str(source.SOPInstanceUID) for source in one.series.sources]
    for item, document in one.of("seg", "seg-labelmap"):
        combined = Segmentation.from_dataset(document).get_pixels_by_source_instance(
            uids, combine_segments=True, assert_missing_frames_are_empty=True
        )
        for part in one.findings.segments:
            assert ((combined == part.number) == part.mask).all(), item.output
    ((_, fractional),) = one.of("seg-fractional")
    shares = Segmentation.from_dataset(fractional).get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True
    )
    for number, wanted in enumerate(levels(one)):
        assert np.abs(shares[..., number] - wanted).max() < 1e-6


@pytest.mark.parametrize("name", with_kind("pmap"))
def test_its_probabilities_are_read_back(name: str) -> None:
    one = made(name)
    for (_, document), wanted in zip(one.of("pmap"), levels(one), strict=True):
        stored = document.pixel_array.reshape(-1, document.Rows, document.Columns)
        opened = ParametricMap.from_dataset(document)
        real = opened.get_frames(apply_real_world_transform=True, dtype=np.float64)
        for planes in (stored, real):
            for z, plane in planes_of(document, one.series, planes).items():
                assert np.abs(plane - wanted[z]).max() < 1e-6


def levels(one: Made) -> list[np.ndarray]:
    """Give the probabilities of each map, 0 to 1, (z, y, x)."""
    assert one.findings is not None
    slices, rows, columns = one.series.volume.shape
    planes = [
        [found.plane(z, rows=rows, columns=columns) / 255 for z in range(slices)]
        for found in one.findings.maps
    ]
    return [np.stack(each) for each in planes]


@pytest.mark.parametrize("name", with_kind("gsps"))
def test_its_marks_are_read_back_from_the_presentation_state(name: str) -> None:
    one = made(name)
    masks = one.masks()
    ((_, state),) = one.of("gsps")
    layers = [item.GraphicLayer for item in state.GraphicLayerSequence if item.GraphicLayer != "WORDS"]
    assert layers
    for z, mask in enumerate(masks):
        filled = np.logical_or.reduce([drawn(state, z, mask.shape, layer=layer) for layer in layers])
        # Thinning may move an edge by half a pixel, and an edge may lie between pixels.
        inner, outer = ndimage.binary_erosion(mask), ndimage.binary_dilation(mask)
        assert not (inner & ~filled).any(), z
        assert not (filled & ~outer).any(), z
    marked = {slice_of(item) for item in state.GraphicAnnotationSequence if "GraphicObjectSequence" in item}
    assert marked == set(np.flatnonzero(masks.any(axis=(1, 2))))


@pytest.mark.parametrize("name", with_kind("kos"))
def test_its_key_images_are_read_back(name: str) -> None:
    one = made(name)
    ((_, document),) = one.of("kos")
    marked = np.flatnonzero(one.masks().any(axis=(1, 2)))
    known = {str(one.series.sources[z].SOPInstanceUID) for z in marked}
    images = {str(uid) for kind, uid, _ in references(document) if kind == "IMAGE"}
    assert images
    assert images <= known
    ((report, _),) = one.of("sr")
    assert evidence(document) == images | {report.sop_instance_uid}
    listed = KeyObjectSelectionDocument.from_dataset(document).content.get_references()
    assert {str(item.referenced_sop_instance_uid) for item in listed} == evidence(document)


@pytest.mark.parametrize("name", list(CASES))
def test_what_it_replaces_is_read_back(name: str) -> None:
    ((_, document),) = made(name).of("iocm")
    assert evidence(document) == {item.sop_instance_uid for item in old("sr", "seg")}
