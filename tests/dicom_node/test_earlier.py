"""Asking an archive for a patient's studies: other patients, other issuers, other days, and no answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.earlier import EarlierStudy, Patient, day_of, find_earlier, time_of
from dicom_node.values import Peer
from tests.dicom_node.samples import LIMITS
from tests.dicom_node.test_find import Answers, archive, row

ANN = Patient(patient_id="P-1", issuer="WEST")
NOBODYS = Patient(patient_id="P-1", issuer="")
FIRST, LAST = date(2024, 1, 1), date(2026, 3, 1)
FULL = {
    "PatientID": "P-1",
    "IssuerOfPatientID": "WEST",
    "StudyDate": "20250301",
    "StudyTime": "0915",
    "StudyDescription": "CT HEAD",
    "ModalitiesInStudy": ["CT", "SR"],
    "NumberOfStudyRelatedInstances": 40,
}


def asked(answers: Answers, patient: Patient = ANN) -> list[EarlierStudy] | None:
    with archive(answers) as peer:
        return ask(peer, patient)


def ask(peer: Peer, patient: Patient) -> list[EarlierStudy] | None:
    return find_earlier(
        peer, calling_ae="BOX", patient=patient, first=FIRST, last=LAST, modality="CT", limits=LIMITS
    )


def one(**values: Any) -> Answers:
    """An archive with one study."""

    def answers(_event: Any) -> Iterator[Any]:
        yield row("STUDY", StudyInstanceUID="1.2.3", **FULL | values)

    return answers


def test_a_study_comes_with_what_a_condition_may_ask() -> None:
    found = asked(one())
    assert found is not None
    (study,) = found
    assert (study.study_uid, study.day, study.time, study.issuer) == (
        "1.2.3",
        date(2025, 3, 1),
        "091500",
        "WEST",
    )
    assert study.said == {
        "StudyDescription": "CT HEAD",
        "ModalitiesInStudy": ["CT", "SR"],
        "NumberOfStudyRelatedInstances": 40,
    }


def test_the_keys_are_those_of_one_patient_and_some_days() -> None:
    seen: list[Any] = []

    def answers(event: Any) -> Iterator[Any]:
        seen.append(event.identifier)
        yield row("STUDY", StudyInstanceUID="1.2.3", **FULL)

    asked(answers)
    (wanted,) = seen
    assert (wanted.PatientID, wanted.IssuerOfPatientID) == ("P-1", "WEST")
    assert (wanted.StudyDate, wanted.ModalitiesInStudy) == ("20240101-20260301", "CT")
    assert wanted.QueryRetrieveLevel == "STUDY"


def test_an_archive_that_knows_no_issuers_is_asked_without() -> None:
    seen: list[str] = []

    def answers(event: Any) -> Iterator[Any]:
        seen.append(event.identifier.IssuerOfPatientID)
        if not seen[-1]:
            yield row("STUDY", StudyInstanceUID="1.2.3", **FULL | {"IssuerOfPatientID": ""})

    found = asked(answers)
    assert found is not None
    assert [(study.study_uid, study.issuer) for study in found] == [("1.2.3", "")]
    assert seen == ["WEST", ""]


@pytest.mark.parametrize(
    "other",
    [
        {"PatientID": "P-10"},
        {"PatientID": ""},
        {"PatientID": "p-1"},
        {"IssuerOfPatientID": "EAST"},
        {"StudyDate": "20231231"},
        {"StudyDate": "20260302"},
        {"StudyDate": ""},
        {"StudyDate": "2025-3-1"},
        {"StudyInstanceUID": ""},
        {"ModalitiesInStudy": "MR"},
    ],
)
def test_what_was_not_asked_for_is_left_out(other: dict[str, Any]) -> None:
    def answers(_event: Any) -> Iterator[Any]:
        yield row("STUDY", **{"StudyInstanceUID": "1.2.3"} | FULL | other)
        yield row("STUDY", StudyInstanceUID="1.2.4", **FULL)

    found = asked(answers)
    assert found is not None
    assert [study.study_uid for study in found] == ["1.2.4"]


def test_without_an_issuer_of_ones_own_that_of_the_archive_is_told() -> None:
    found = asked(one(IssuerOfPatientID="EAST"), NOBODYS)
    assert found is not None
    assert [study.issuer for study in found] == ["EAST"]


def test_an_archive_that_refuses_gives_no_answer() -> None:
    def answers(_event: Any) -> Iterator[Any]:
        yield row("STUDY", StudyInstanceUID="1.2.3", **FULL)
        yield 0xA700, None

    assert asked(answers) is None


def test_who_it_is_stands_in_no_log_and_no_representation() -> None:
    secret = Patient(patient_id="QVXZ-77", issuer="QVXZ")
    with structlog.testing.capture_logs() as logs:
        found = asked(one(PatientID="QVXZ-77", IssuerOfPatientID="QVXZ", StudyDescription="QVXZ"), secret)
        assert found
        asked(lambda _event: iter([(0xA700, None)]), secret)
    assert logs
    assert "QVXZ" not in repr(logs) + repr(secret) + repr(found)


@pytest.mark.parametrize("odd", ["X" * 70, "A\nB", "A'B\"C", "M\xfcller 1", "\u5c71-1"])
def test_an_odd_id_is_asked_for_as_it_is(odd: str, recwarn: pytest.WarningsRecorder) -> None:
    seen: list[str] = []

    def answers(event: Any) -> Iterator[Any]:
        seen.append(str(event.identifier.PatientID))
        yield 0xFF00, event.identifier

    with archive(answers) as peer:
        assert ask(peer, Patient(patient_id=odd, issuer="")) == []
    assert seen == [odd]
    assert [str(one.message) for one in recwarn if odd in str(one.message)] == []


@pytest.mark.parametrize(
    ("text", "is_sure"), [("P 1", True), ("", False), ("P*", False), ("P?1", False), ("P\\1", False)]
)
def test_an_id_that_could_mean_others_is_not_asked_for(text: str, is_sure: bool) -> None:
    assert Patient(patient_id=text, issuer="").can_be_asked_for is is_sure


@given(st.text(max_size=12))
def test_no_text_makes_a_wrong_day_or_time(text: str) -> None:
    day, time = day_of(text), time_of(text)
    assert day is None or f"{day:%4Y%m%d}".zfill(8) == text
    assert time == "" or (len(time) == 6 and time.isdigit())


def test_times_are_filled_up() -> None:
    assert [time_of(text) for text in ("09", "0915", "091533.25", "09:15:33", "9", None)] == [
        *("090000", "091500", "091533", "091533", "", "")
    ]
