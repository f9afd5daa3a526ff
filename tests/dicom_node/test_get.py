"""Getting series on the association that asks: kept like any instance, refused like any, and bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as StudyRootGet,
)

from dicom_node.errors import Refusal
from dicom_node.get import Wanted, contexts_for, get
from dicom_node.limits import Limits
from dicom_node.move import Moved
from dicom_node.receive import Reception, Refused
from dicom_node.status import Status
from dicom_node.storage_classes import STORAGE_CLASSES
from dicom_node.syntaxes import EXPLICIT_VR_BIG_ENDIAN, OFFERED
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, EXPLICIT, IMPLICIT, LIMITS, Shelf, header, sample, serving

Answers = Callable[[Any], Iterator[Any]]
STUDY = "2.25.102"


@contextmanager
def archive(answers: Answers, *syntaxes: str) -> Iterator[Peer]:
    entity = AE("PACS")
    entity.supported_contexts = [build_context(StudyRootGet, [IMPLICIT])]
    entity.add_supported_context(CT, list(syntaxes) or [IMPLICIT, EXPLICIT], scu_role=True, scp_role=True)
    with serving(entity, (evt.EVT_C_GET, answers)) as peer:
        yield replace(peer, may=frozenset({"store", "query"}))


def fetch(
    peer: Peer,
    shelf: Any,
    *series: str,
    limits: Limits = LIMITS,
    refused: list[Refused] | None = None,
    **more: Any,
) -> Moved:
    told = [] if refused is None else refused
    return get(
        peer,
        calling_ae="BOX",
        wanted=Wanted(study_uid=STUDY, series_uids=series or ("2.25.103",), sop_classes={CT}),
        reception=Reception(intake=shelf, limits=limits, on_refused=told.append),
        limits=limits,
        **more,
    )


def brings(*uids: str, **changes: Any) -> Answers:
    """Bring a slice of each UID, for every request."""

    def answers(event: Any) -> Iterator[Any]:
        assert event.identifier.QueryRetrieveLevel == "SERIES"
        yield len(uids)
        for uid in uids:
            study, series = event.identifier.StudyInstanceUID, event.identifier.SeriesInstanceUID
            values = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid}
            dataset = header(**(values | changes))
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT)
            yield 0xFF00, dataset

    return answers


def test_each_series_comes_on_the_same_association_and_is_kept(shelf: Shelf) -> None:
    with archive(brings("2.25.1", "2.25.2")) as peer:
        got = fetch(peer, shelf, "2.25.103", "2.25.104")
    assert got == Moved(word="get.done", status=0, completed=4, failed=0)
    assert got.whole
    assert [one.header.sop_instance_uid for one in shelf.arrivals] == ["2.25.1", "2.25.2"] * 2
    assert {(a.peer_name, a.calling_ae, a.called_ae) for a in shelf.arrivals} == {("pacs", "PACS", "BOX")}
    assert b"2.25.104" in shelf.arrivals[-1].data


def test_many_instances_take_no_pause_each(shelf: Shelf) -> None:
    uids = [f"2.25.{number}" for number in range(1, 101)]
    with archive(brings(*uids)) as peer:
        used = time.process_time()
        got = fetch(peer, shelf)
        assert time.process_time() - used < 30
    assert (got.completed, len(shelf.arrivals)) == (100, 100)


def test_what_is_refused_is_counted_as_failed_and_told(shelf: Shelf) -> None:
    refused: list[Refused] = []
    with archive(brings("2.25.1", "not a uid")) as peer:
        got = fetch(peer, shelf, refused=refused)
    assert (got.word, got.completed, got.failed) == ("get.partly", 1, 1)
    assert len(shelf.arrivals) == 1
    assert [(one.status, one.word) for one in refused] == [(Status.UID_INVALID, "receive.bad_uid")]


def test_an_instance_of_another_study_is_not_kept(shelf: Shelf) -> None:
    refused: list[Refused] = []
    with archive(brings("2.25.1", StudyInstanceUID="2.25.666")) as peer:
        got = fetch(peer, shelf, refused=refused)
    assert (got.whole, got.failed, shelf.arrivals) == (False, 1, [])
    assert [one.word for one in refused] == ["receive.study_mismatch"]


def test_a_full_disk_is_the_peer_s_failure_to_send() -> None:
    def full(_arrival: Any) -> None:
        raise Refusal(Status.NO_SPACE, "disk.floor", "full")

    with archive(brings("2.25.1")) as peer:
        got = fetch(peer, Shelf(before=full))
    assert (got.whole, got.completed, got.failed) == (False, 0, 1)


def test_a_peer_without_the_right_to_store_brings_nothing(shelf: Shelf) -> None:
    with archive(brings("2.25.1")) as peer:
        got = fetch(replace(peer, may=frozenset({"query"})), shelf)
    assert (got.whole, shelf.arrivals) == (False, [])


def test_a_class_that_the_peer_does_not_bring_fails_there(shelf: Shelf) -> None:
    with archive(brings("2.25.1", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")) as peer:
        got = fetch(peer, shelf)
    assert (got.whole, shelf.arrivals) == (False, [])


def test_a_peer_that_does_not_know_c_get(box: Peer, shelf: Shelf) -> None:
    got = fetch(replace(box, may=frozenset({"store"})), shelf)
    assert got.word in ("get.rejected", "get.no_context", "get.aborted")


def test_a_silent_peer_is_left_after_the_bound(shelf: Shelf) -> None:
    stand_still = threading.Event()

    def answers(_event: Any) -> Iterator[Any]:
        stand_still.wait(20)
        yield 0

    limits = Limits(move_silence_seconds_max=0.5, acse_seconds_max=3.0, abort_seconds_max=0.5)
    started = time.monotonic()
    with archive(answers) as peer:
        assert fetch(peer, shelf, limits=limits).word == "get.no_reply"
        off = fetch(
            peer,
            shelf,
            limits=replace(limits, move_silence_seconds_max=60.0),
            given_up=lambda: time.monotonic() - started > 1.5,
        )
        assert off.word == "get.called_off"
        stand_still.set()


def test_an_instance_without_end_ends_the_association(shelf: Shelf) -> None:
    limits = replace(LIMITS, get_instance_bytes_max=50_000)
    with archive(brings("2.25.1", "2.25.2", ImageComments="x" * 600_000)) as peer:
        got = fetch(peer, shelf, limits=limits)
    assert (got.whole, shelf.arrivals) == (False, [])


def test_a_peer_that_does_not_wait_for_answers_has_to(shelf: Shelf) -> None:
    def answers(event: Any) -> Iterator[Any]:
        # All of the library's own, but for the wait between one sub-operation and the next.
        context = next(c for c in event.assoc.accepted_contexts if c.abstract_syntax == CT)
        for number in range(1, 20):
            one = sample(IMPLICIT, SOPInstanceUID=f"2.25.{number}")
            request = C_STORE()
            request.MessageID, request.Priority = number, 0
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, one.sop_instance_uid
            request.DataSet = BytesIO(one.data)
            message = C_STORE_RQ()
            message.primitive_to_message(request)
            for part in message.encode_msg(context.context_id, 16384):
                event.assoc.dul.send_pdu(part)
        for _ in range(200):
            if len(shelf.arrivals) >= 19:
                break
            time.sleep(0.05)
        yield 0

    def slow(_arrival: Any) -> None:
        time.sleep(0.02)

    shelf.before = slow
    with archive(answers, IMPLICIT) as peer:
        fetch(peer, shelf)
    assert [one.header.sop_instance_uid for one in shelf.arrivals] == [f"2.25.{n}" for n in range(1, 20)]


def test_a_dead_peer_is_unreachable(shelf: Shelf) -> None:
    assert fetch(Peer(name="p", ae_title="P", host="127.0.0.1", port=0), shelf).word == "get.unreachable"


@pytest.mark.parametrize("count", [0, 1, 3, 20, len(STORAGE_CLASSES)])
def test_never_more_contexts_than_an_association_has(count: int) -> None:
    contexts = contexts_for(sorted(STORAGE_CLASSES)[:count], 128)
    assert len(contexts) <= 128
    classes = sorted(STORAGE_CLASSES)[: min(count, 127)]
    assert {str(c.abstract_syntax) for c in contexts[1:]} == set(classes)
    for one in classes:
        syntaxes = [str(s) for c in contexts[1:] if c.abstract_syntax == one for s in c.transfer_syntax]
        assert sorted(syntaxes) == sorted(set(OFFERED) - {EXPLICIT_VR_BIG_ENDIAN})
