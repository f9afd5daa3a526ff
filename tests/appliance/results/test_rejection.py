"""What is replaced: named in full by a rejection note, and said in words wherever a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydicom import Dataset

from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.encode import encode, encode_notice
from tests.appliance.results.given import context, ct_header, lesions, nothing, only, read, series
from tests.appliance.results.test_document import words
from tests.appliance.results.test_keyobjects import description, evidence, references
from tests.appliance.results.test_page import NOTICE, sections
from tests.appliance.results.test_report import words as report_words

ALL = frozenset(OUTPUTS)
# 08:15:30 UTC is 03:15:30 in the zone of the study.
EARLIER = datetime(2026, 11, 21, 8, 15, 30, tzinfo=UTC)
REPLACES = "This result replaces the one of 2026-11-21 03:15:30 UTC-05:00 of the same study and model."


def old(*outputs: str) -> list[Reference]:
    return [
        Reference(
            sop_class_uid=SOP_CLASSES[output],  # type: ignore[index]  # what is tested is any text
            sop_instance_uid=f"2.25.1{number}",
            series_uid=f"2.25.2{number}",
            study_uid=str(ct_header().StudyInstanceUID),
            output=output,
        )
        for number, output in enumerate(outputs)
    ]


def superseding(*outputs: str) -> ResultContext:
    return context(run=2, supersedes=old(*outputs), superseded_at=EARLIER)


def encoded(given: ResultContext, outputs: frozenset[str] = ALL) -> list[EncodedObject]:
    made = series()
    return encode(
        given, sources=made.sources, volume=made.volume, findings=lesions(made.volume), outputs=outputs
    )


def note(objects: Sequence[EncodedObject]) -> Dataset:
    assert objects[-1].output == "iocm"
    return read(objects[-1])


def test_every_replaced_object_is_rejected_and_nothing_else() -> None:
    kinds = ("sr", "sr-cornerstone", "seg", "seg-labelmap", "gsps", "sc", "text-sr", "pdf", "pmap", "kos")
    document = note(encoded(superseding(*kinds)))
    assert document.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert document.ConceptNameCodeSequence[0].CodeMeaning == "Rejected for Quality Reasons"
    named = {uid: kind for kind, uid, _ in references(document)}
    assert set(named) == evidence(document) == {one.sop_instance_uid for one in old(*kinds)}
    images = {
        one.sop_instance_uid for one in old(*kinds) if one.output in ("seg", "seg-labelmap", "sc", "pmap")
    }
    assert {uid for uid, kind in named.items() if kind == "IMAGE"} == images


def test_it_says_why_in_words_and_that_the_images_are_not_to_blame() -> None:
    text = description(note(encoded(superseding("sr"))))
    assert "no longer current" in text
    assert "no fault of the images" in text
    assert text.endswith(REPLACES)


def test_an_earlier_rejection_note_is_not_rejected() -> None:
    document = note(encoded(superseding("sr", "kos", "iocm")))
    assert len(references(document)) == 2
    assert not only(encoded(superseding("iocm")), "iocm")


def test_without_a_predecessor_or_where_nobody_takes_it_there_is_no_note() -> None:
    assert not only(encoded(context()), "iocm")
    assert not only(encoded(superseding("sr"), frozenset({"sr", "kos"})), "iocm")


def test_a_notice_rejects_what_it_replaces() -> None:
    given = superseding("sr", "seg")
    objects = encode_notice(given, sources=[ct_header()], notice=NOTICE, outputs=ALL)
    assert evidence(note(objects)) == {"2.25.10", "2.25.11"}
    assert only(objects, "text-sr")[0].series_description.startswith("NOT ANALYSED UPDATE 2 ")


def test_a_reader_of_any_object_sees_which_of_two_results_is_current() -> None:
    objects = encoded(superseding("sr"))
    said = {item.output: item.series_description for item in objects}
    assert all(" UPDATE 2 " in text for output, text in said.items() if output != "iocm")
    assert said["iocm"].startswith("REPLACED AI result ")
    assert REPLACES in report_words(read(only(objects, "sr")[0]))
    assert REPLACES in sections(read(only(objects, "text-sr")[0]))[0][1]
    assert REPLACES in words(read(only(objects, "pdf")[0]))
    assert REPLACES in description(read(only(objects, "kos")[0]))
    (state,) = (read(item) for item in only(objects, "gsps"))
    captions = [
        item.TextObjectSequence[0].UnformattedTextValue
        for item in state.GraphicAnnotationSequence
        if item.GraphicLayer == "WORDS"
    ]
    assert captions
    assert all(REPLACES in text for text in captions)
    # A picture's words are pixels: the one that says it is taller.
    plain = encoded(context(run=2), frozenset({"sc"}))
    assert read(only(objects, "sc")[0]).Rows > read(only(plain, "sc")[0]).Rows


def test_both_reports_name_the_predecessor() -> None:
    objects = encoded(superseding("sr", "seg"))
    for output in ("sr", "sr-cornerstone", "text-sr", "pdf"):
        (study,) = read(only(objects, output)[0]).PredecessorDocumentsSequence
        (entry,) = study.ReferencedSeriesSequence
        assert entry.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.10"


def test_a_first_result_says_nothing_of_replacing() -> None:
    for item in encoded(context()):
        assert "UPDATE" not in item.series_description
        assert b"replaces" not in item.data


def test_where_the_time_is_not_known_an_earlier_one_is_replaced() -> None:
    given = replace(superseding("sr"), superseded_at=None)
    made = encode(
        given, sources=series().sources, volume=None, findings=nothing(), outputs=frozenset({"text-sr"})
    )
    assert "This result replaces an earlier one of the same study and model." in sections(read(made[0]))[0][1]
