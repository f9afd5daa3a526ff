"""Counting a study's instances at peers that know, do not know, and lie."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRootFind,
)

from dicom_node.limits import Limits
from dicom_node.query import count_instances
from dicom_node.values import Peer
from tests.dicom_node.samples import EXPLICIT, IMPLICIT, LIMITS, serving

STUDY = "1.2.3"
Answers = Callable[[Any], Iterator[tuple[int, Dataset | None]]]


@contextmanager
def archive(answers: Answers, *syntaxes: str) -> Iterator[Peer]:
    entity = AE("PACS")
    entity.supported_contexts = [build_context(StudyRootFind, list(syntaxes or (IMPLICIT,)))]
    with serving(entity, (evt.EVT_C_FIND, answers)) as peer:
        yield peer


def count(peer: Peer, limits: Limits = LIMITS) -> int | None:
    return count_instances(peer, calling_ae="BOX", study_uid=STUDY, limits=limits)


def match(event: Any, number: object, study: str = STUDY) -> Dataset:
    """One response at the level that was asked for."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
    dataset.StudyInstanceUID = study
    if number is not None:
        level = dataset.QueryRetrieveLevel
        keyword = f"NumberOf{'Study' if level == 'STUDY' else 'Series'}RelatedInstances"
        setattr(dataset, keyword, number)
    return dataset


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_the_number_of_the_study_is_taken(syntax: str) -> None:
    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        assert event.identifier.StudyInstanceUID == STUDY
        yield 0xFF00, match(event, 412)

    with archive(answers, syntax) as peer:
        assert count(peer) == 412


def test_without_it_the_series_are_added_up() -> None:
    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        if event.identifier.QueryRetrieveLevel == "STUDY":
            yield 0xFF00, match(event, None)
        else:
            for number in (3, 40, 400):
                yield 0xFF01, match(event, number)

    with archive(answers) as peer:
        assert count(peer) == 443


def test_a_series_without_a_number_leaves_the_study_without_one() -> None:
    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        for number in (None, 3):
            yield 0xFF00, match(event, number if event.identifier.QueryRetrieveLevel == "SERIES" else None)

    with archive(answers) as peer:
        assert count(peer) is None


def test_a_study_nobody_knows_has_no_number_rather_than_zero() -> None:
    with archive(lambda _event: iter(())) as peer:
        assert count(peer) is None


def test_other_studies_in_the_answer_do_not_count() -> None:
    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        yield 0xFF00, match(event, 9, study="1.2.4")
        yield 0xFF00, match(event, 5)

    with archive(answers) as peer:
        assert count(peer) == 5


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0x0122])
def test_a_refusal_is_no_number(status: int) -> None:
    with archive(lambda _event: iter([(status, None)])) as peer:
        assert count(peer) is None


def test_an_answer_without_end_is_cut() -> None:
    served = []

    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        for number in range(100_000):
            served.append(number)
            yield 0xFF00, match(event, 1)
            if not event.assoc.is_established:
                return

    with archive(answers) as peer:
        limits = Limits(find_responses_max=20, acse_seconds_max=3.0, abort_seconds_max=1.0)
        assert count(peer, limits) is None
    assert 20 <= len(served) < 100_000


def test_a_giant_answer_is_cut() -> None:
    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        dataset = match(event, 5)
        dataset.add_new(0x00091001, "UN", b"\0" * 300_000)
        yield 0xFF00, dataset

    with archive(answers) as peer:
        limits = Limits(
            reply_bytes_max=100_000, acse_seconds_max=3.0, abort_seconds_max=1.0, dimse_seconds_max=2.0
        )
        assert count(peer, limits) is None


def test_a_peer_without_query_has_no_number(box: Peer) -> None:
    assert count_instances(box, calling_ae="MONITOR", study_uid=STUDY, limits=LIMITS) is None
    assert count_instances(box, calling_ae="STRANGER", study_uid=STUDY, limits=LIMITS) is None


def test_a_dead_peer_has_no_number() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    assert count(Peer(name="p", ae_title="P", host="127.0.0.1", port=port)) is None
