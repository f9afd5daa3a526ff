"""Having archives send us series: whole, in part, refused, and never."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as StudyRootMove,
)

from dicom_node.limits import Limits
from dicom_node.move import Moved, move
from dicom_node.values import Peer
from tests.dicom_node.samples import IMPLICIT, LIMITS, Shelf, header, serving

Answers = Callable[[Any], Iterator[Any]]
STUDY = "2.25.102"
_PAUSE_SECONDS = 0.1


@contextmanager
def archive(answers: Answers) -> Iterator[Peer]:
    """An archive that calls by a title that the box knows as a sender."""
    entity = AE("CTSCAN")
    entity.supported_contexts = [build_context(StudyRootMove, [IMPLICIT])]
    with serving(entity, (evt.EVT_C_MOVE, answers)) as peer:
        yield peer


def fetch(peer: Peer, *series: str, limits: Limits = LIMITS, **more: Any) -> Moved:
    return move(
        peer,
        calling_ae="BOX",
        destination_ae="BOX",
        study_uid=STUDY,
        series_uids=series or ("2.25.103",),
        limits=limits,
        **more,
    )


def sends_to(box: Peer, *uids: str) -> Answers:
    """Send a slice of each UID to the box, for every request."""

    def answers(event: Any) -> Iterator[Any]:
        assert event.move_destination == "BOX"
        assert event.identifier.QueryRetrieveLevel == "SERIES"
        yield box.host, box.port, {"contexts": [build_context(CTImageStorage, IMPLICIT)]}
        yield len(uids)
        for uid in uids:
            study, series = event.identifier.StudyInstanceUID, event.identifier.SeriesInstanceUID
            changes = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid}
            dataset = header(**changes)
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT)
            # The library's requestor takes its loop for paused when it has only not woken yet from the store
            # before, and then that loop may take the next answer.
            time.sleep(_PAUSE_SECONDS)
            yield 0xFF00, dataset

    return answers


def test_each_series_is_sent_to_us_and_counted(box: Peer, shelf: Shelf) -> None:
    with archive(sends_to(box, "2.25.1", "2.25.2")) as peer:
        moved = fetch(peer, "2.25.103", "2.25.104")
    assert moved == Moved(word="move.done", status=0, completed=4, failed=0)
    assert [one.header.sop_instance_uid for one in shelf.arrivals] == ["2.25.1", "2.25.2"] * 2
    assert b"2.25.104" in shelf.arrivals[-1].data


def test_what_the_box_refuses_is_counted_as_failed(box: Peer, shelf: Shelf) -> None:
    with archive(sends_to(box, "2.25.1", "not a uid")) as peer:
        moved = fetch(peer)
    assert (moved.word, moved.completed, moved.failed) == ("move.partly", 1, 1)
    assert not moved.whole
    assert len(shelf.arrivals) == 1


def test_an_archive_that_does_not_know_us_says_so_and_is_asked_no_more() -> None:
    asked = []

    def answers(event: Any) -> Iterator[Any]:
        asked.append(event.identifier.SeriesInstanceUID)
        yield None, None

    with archive(answers) as peer:
        assert fetch(peer, "1.1", "1.2").word == "move.unknown_destination"
    assert asked == ["1.1"]


def test_a_silent_archive_is_left_after_the_bound() -> None:
    stand_still = threading.Event()

    def answers(_event: Any) -> Iterator[Any]:
        stand_still.wait(20)
        yield None, None

    limits = Limits(move_silence_seconds_max=0.5, acse_seconds_max=3.0, abort_seconds_max=0.5)
    with archive(answers) as peer:
        assert fetch(peer, limits=limits).word == "move.no_reply"
        stand_still.set()


def test_a_retrieval_is_called_off_when_the_service_ends() -> None:
    stand_still, started = threading.Event(), time.monotonic()

    def answers(_event: Any) -> Iterator[Any]:
        stand_still.wait(20)
        yield None, None

    limits = Limits(move_silence_seconds_max=60.0, acse_seconds_max=3.0, abort_seconds_max=0.5)
    with archive(answers) as peer:
        moved = fetch(peer, limits=limits, given_up=lambda: time.monotonic() - started > 0.5)
        stand_still.set()
    assert moved.word == "move.called_off"


def test_a_dead_archive_is_unreachable() -> None:
    assert fetch(Peer(name="p", ae_title="P", host="127.0.0.1", port=0)).word == "move.unreachable"
