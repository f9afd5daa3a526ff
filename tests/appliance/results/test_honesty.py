"""Whoever takes whatever: an answer is readable, nothing opens empty, what cannot be made is named (P8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from pydicom import Dataset

from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.results.context import EncodedObject, Notice, ResultContext
from appliance.results.encode import encode, encode_notice
from models.findings import Findings, Outcome
from tests.appliance.results.given import (
    Series,
    answers,
    bands,
    boxes,
    context,
    ct_header,
    lesions,
    nothing,
    only,
    radiograph,
    read,
    series,
)
from tests.appliance.results.sr_rules import faults
from tests.appliance.results.test_document import words as printed
from tests.appliance.results.test_page import NOTICE
from tests.appliance.results.test_rejection import old

ABSTAINED = replace(nothing(), outcome=Outcome.ABSTAINED, statement="The answer is not certain enough.")
NAMES = {
    "sr": "report",
    "sr-cornerstone": "report with contours",
    "seg": "segmentation",
    "seg-fractional": "fractional segmentation",
    "seg-labelmap": "label map segmentation",
    "gsps": "presentation state",
    "sc": "picture",
    "pmap": "heat map",
    "kos": "selection of key images",
}
NOTICES = ("not eligible", "failed", "not run")
_WORDS = ("text-sr", "pdf")
_DRAWN = ("sr", "sr-cornerstone")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Hold an outcome: what the model said, of which images, and the words that a reader must find."""

    make: Callable[[Series], Findings]
    series: Callable[[], Series] = series
    with_volume: bool = True
    says: str

    def encode(self, outputs: Iterable[str], given: ResultContext | None = None) -> list[EncodedObject]:
        made = self.series()
        return encode(
            given or context(),
            sources=made.sources,
            volume=made.volume if self.with_volume else None,
            findings=self.make(made),
            outputs=frozenset(outputs),
        )


CASES = {
    "finding": Case(make=lambda made: lesions(made.volume), says="FINDING: 2 dense lesions were marked."),
    "finding on a radiograph": Case(
        make=lambda made: boxes(), series=radiograph, says="FINDING: 2 nodules were marked."
    ),
    "answers": Case(make=lambda made: answers(), series=radiograph, says="FINDING: A marker is present."),
    "measured": Case(make=lambda made: bands(made.volume), says="MEASURED: Volumes of three"),
    "no finding": Case(make=lambda made: nothing(), says="NO FINDING: No dense lesion was marked."),
    "abstained": Case(make=lambda made: ABSTAINED, says="ABSTAINED: The answer is not certain enough."),
    "no volume": Case(make=lambda made: ABSTAINED, with_volume=False, says="ABSTAINED: The answer"),
}


def text_of(item: EncodedObject) -> str:
    """Read what a person reads in an object; of pictures nothing."""
    document = read(item)
    if item.output == "pdf":
        return " ".join(printed(document).split())
    return " ".join(str(element.value) for element in document.iterall() if element.keyword == "TextValue")


def assert_honest(objects: Sequence[EncodedObject], outputs: Iterable[str], case: Case) -> None:
    assert objects
    for item in objects:
        assert SOP_CLASSES[item.output] == item.sop_class_uid or item.output.startswith("seg-")  # type: ignore[index]
        if item.output in _DRAWN:
            assert faults(read(item)) == []
    reading = [item for item in objects if item.output in (*_WORDS, "sr")]
    pictures = only(objects, "sc")
    assert reading or pictures
    for item in reading:
        assert case.says in text_of(item), item.output
    # The one to open first is one that every viewer can show, and for a doubt or a negative a page of text.
    assert objects[0].output in ("text-sr", "sr", "sc", "pdf")
    if "ABSTAINED" in case.says or "NO FINDING" in case.says:
        assert objects[0].output == "text-sr"
    assert_nothing_is_silent(objects, outputs, reading)


def assert_nothing_is_silent(
    objects: Sequence[EncodedObject], outputs: Iterable[str], reading: Sequence[EncodedObject]
) -> None:
    lacking = set(outputs) - {item.output for item in objects} - {"iocm"}
    for item in reading:
        text = text_of(item)
        assert ("Not part of this result" in text) == bool(lacking)
        for output in lacking:
            assert NAMES[output] in text, f"{output} is not named in {item.output}"


# The others take as long again and say as much.
COMMON = ("finding", "finding on a radiograph", "no finding")


@pytest.mark.parametrize(
    "name", [n if n in COMMON else pytest.param(n, marks=pytest.mark.long) for n in CASES]
)
@pytest.mark.parametrize("output", [*OUTPUTS, None])
def test_whoever_takes_one_kind_only_still_finds_the_answer(name: str, output: str | None) -> None:
    outputs = [output] if output else []
    assert_honest(CASES[name].encode(outputs), outputs, CASES[name])


# Those that can be missing, and one of each sort that cannot.
HANDFUL = ("sr", "seg", "gsps", "kos", "pdf", "iocm")
SUBSETS = [set(chosen) for count in range(len(HANDFUL) + 1) for chosen in combinations(HANDFUL, count)]


def assert_all_subsets_are_honest(name: str, subsets: Iterable[set[str]]) -> None:
    superseding = context(run=2, supersedes=old("sr", "seg"))
    for outputs in subsets:
        objects = CASES[name].encode(outputs, superseding)
        assert_honest(objects, outputs, CASES[name])
        assert (objects[-1].output == "iocm") == ("iocm" in outputs)


@pytest.mark.parametrize("name", list(CASES))
def test_whatever_destinations_take_every_answer_is_readable(name: str) -> None:
    assert_all_subsets_are_honest(name, [{"gsps", "pdf", "iocm"}, {"sr", "seg", "gsps", "kos", "sc"}])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(CASES))
def test_of_all_subsets_of_a_handful_every_answer_is_readable(name: str) -> None:
    assert_all_subsets_are_honest(name, SUBSETS)


@pytest.mark.parametrize(
    ("kind", "output"), [*((kind, "pdf") for kind in NOTICES), *(("failed", output) for output in OUTPUTS)]
)
def test_a_notice_reaches_whoever_takes_one_kind_only(kind: str, output: str) -> None:
    notice: Notice = replace(NOTICE, kind=kind)  # type: ignore[arg-type]
    outputs = frozenset([output])
    objects = encode_notice(context(), sources=[ct_header()], notice=notice, outputs=outputs)
    assert objects[0].output == "text-sr"
    for item in objects:
        assert item.output in ("text-sr", "sc", "pdf")
        assert item.series_description.startswith("NOT ANALYSED ")
        if item.output != "sc":
            text = text_of(item)
            assert f"NOT ANALYSED ({kind}). This is not a negative result." in text
            assert "FINDING" not in text


def test_an_abstention_with_regions_shows_them_and_a_page_comes_first() -> None:
    made = series()
    doubtful = replace(lesions(made.volume), outcome=Outcome.ABSTAINED, statement="Uncertain: 2 lesions.")
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=doubtful,
        outputs=frozenset({"sr", "kos"}),
    )
    assert [item.output for item in objects] == ["text-sr", "sr", "kos"]
    assert faults(read(objects[1])) == []
    assert all("ABSTAINED: Uncertain: 2 lesions." in text_of(item) for item in objects)


STAND_INS = [("gsps", "seg"), ("sc", "gsps"), ("text-sr", "sr"), ("pdf", "text-sr")]
STANDS_IN = {
    "gsps": "Stands in for the segmentation, which a destination does not take.",
    "sc": "Stands in for the presentation state, which a destination does not take.",
    "text-sr": "Stands in for the report, which a destination does not take.",
    "pdf": "Stands in for the page of text, which a destination does not take.",
}


@pytest.mark.parametrize(("output", "asked"), STAND_INS)
def test_what_stands_in_for_something_says_so(output: str, asked: str) -> None:
    def made(given: ResultContext) -> EncodedObject:
        return only(CASES["finding"].encode({output}, given), output)[0]

    instead, plain = made(context(stands_in={output: asked})), made(context())
    if output == "sc":
        # The words are pixels: the picture that has more of them is taller.
        assert read(instead).Rows > read(plain).Rows
        return
    said = captions(read(instead)) if output == "gsps" else [text_of(instead)]
    assert said
    assert all(STANDS_IN[output] in text for text in said)
    assert b"Stands in" not in plain.data
    if output == "gsps":
        description = "AI marks in place of a segmentation; not for primary diagnosis"
        assert read(instead).ContentDescription == description
        assert len(description) <= 64


def captions(state: Dataset) -> list[str]:
    return [
        item.TextObjectSequence[0].UnformattedTextValue
        for item in state.GraphicAnnotationSequence
        if item.GraphicLayer == "WORDS"
    ]


@pytest.mark.parametrize("output", ["text-sr", "pdf", "sc"])
def test_a_notice_that_stands_in_for_something_says_so(output: str) -> None:
    def made(given: ResultContext) -> EncodedObject:
        objects = encode_notice(given, sources=[ct_header()], notice=NOTICE, outputs=frozenset({output}))
        return only(objects, output)[0]

    instead, plain = made(context(stands_in={output: "sr"})), made(context())
    if output == "sc":
        assert (read(instead).pixel_array != 0).sum() > (read(plain).pixel_array != 0).sum()
    else:
        assert "Stands in for the report, which a destination does not take." in text_of(instead)
