"""Storage commitment on both sides of the night: the PACS commits what it has, and a modality asks the box.

What the PACS commits is a line in its journal before the box hears of it, what the box commits is one once it
is heard: the judge holds the ledger and the spool against them.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.demo.box import BOX_AE, Box
from dicom_node.commit_ask import ask_to_commit
from dicom_node.commit_tell import tell
from dicom_node.commitment import Reference, Report, Request
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.memory import MemoryIntake
from dicom_node.values import AeTitle, Peer
from scripts.night.journal import Journal, lines
from tests.dicom_node.samples import CT

# Requests and reports leave the line at once: what is to come, comes on another.
HASTY = Limits(acse_seconds_max=10.0, dimse_seconds_max=10.0, commitment_event_seconds=0.1)
_TELL_SECONDS, _ASK_SECONDS = 0.3, 0.7
_AT_ONCE = 20


@dataclass
class Book:
    """What an archive owes reports about, what it committed and what it heard; it commits all it is asked."""

    journal: Journal | None = None
    commits: bool = True
    owed: dict[str, Request] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    heard: list[Report] = field(default_factory=list)

    def promise(self, _peer: Peer, request: Request) -> None:
        """Owe a report."""
        self.owed[request.transaction_uid] = request

    def report_for(self, _peer: Peer, transaction_uid: str) -> Report | None:
        """Commit everything."""
        request = self.owed.get(transaction_uid)
        if request is None:
            return None
        self._note(request.references)
        return Report(transaction_uid=transaction_uid, committed=request.references, failed={})

    def told(self, _peer: Peer, report: Report) -> None:
        """The box took it."""
        self.committed |= {one.sop_instance_uid for one in report.committed}
        self.owed.pop(report.transaction_uid, None)

    def reported(self, _peer: Peer, report: Report) -> bool:
        """Hear what the box promised."""
        self._note(report.committed)
        self.heard.append(report)
        return True

    def _note(self, references: Sequence[Reference]) -> None:
        for one in references if self.journal else ():
            assert self.journal is not None
            self.journal.note(uid=one.sop_instance_uid)


class Telling(threading.Thread):
    """Tells the box what an archive owes it, on associations of the archive's own."""

    def __init__(self, book: Book, box: Box, calling_ae: str, stopping: threading.Event) -> None:
        super().__init__(name="telling", daemon=True)
        self._book, self._box, self._calling_ae, self._stopping = book, box, calling_ae, stopping

    def run(self) -> None:
        """Tell until told to stop."""
        peer = self._box.as_peer
        while not self._stopping.wait(_TELL_SECONDS):
            for transaction in list(self._book.owed):
                report = self._book.report_for(peer, transaction)
                if report and tell(peer, calling_ae=self._calling_ae, report=report, limits=HASTY).ok:
                    self._book.told(peer, report)


class Asking(threading.Thread):
    """Asks the box to commit some of what it acknowledged, and something that it never had."""

    def __init__(self, book: Book, box: Box, calling_ae: str, sent: Path, stopping: threading.Event) -> None:
        super().__init__(name="asking", daemon=True)
        self._book, self._box, self._calling_ae = book, box, calling_ae
        self._sent, self._stopping = sent, stopping

    def run(self) -> None:
        """Ask until told to stop."""
        dice = random.Random(7)
        while not self._stopping.wait(_ASK_SECONDS):
            known = [line["uid"] for line in lines(self._sent) if line.get("status") == 0][-200:]
            if known:
                wanted = [*dice.sample(known, min(_AT_ONCE, len(known))), f"2.25.{dice.getrandbits(60)}"]
                ask(self._book, self._box, self._calling_ae, [Reference(str(CT), uid) for uid in wanted])


def ask(book: Book, box: Box, calling_ae: str, references: Sequence[Reference]) -> None:
    """Ask the box once; what it says on the line counts, and what it says later too."""
    ask_to_commit(
        box.as_peer,
        calling_ae=calling_ae,
        request=Request(transaction_uid=f"2.25.{uuid.uuid4().int}", references=references),
        on_report=lambda report: book.reported(box.as_peer, report),
        limits=HASTY,
    )


@contextmanager
def listening(book: Book, ae_title: str, port: int) -> Iterator[None]:
    """Let a modality hear what the box tells it."""
    known = Peer(
        name="box", ae_title=AeTitle.parse(BOX_AE), host="127.0.0.1", port=0, may=frozenset({"store"})
    )
    ears = Listener(
        ae_title=ae_title,
        host="127.0.0.1",
        port=port,
        peers=[known],
        intake=MemoryIntake(lambda _held: None),
        limits=Limits(),
        steward=book,
    )
    ears.start()
    try:
        yield
    finally:
        ears.stop()
