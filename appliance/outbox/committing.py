"""Have peers commit what they accepted (PS3.4 J): ask, wait, ask again, and take their reports.

Promises: a request is a row before it is made, so its report is known whenever it comes; a report is answered
after what it says is a row.
Never: gives up an object by itself; what a peer lost too often, or never answers for, is a person's.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence

from appliance.core import log
from appliance.core.config import Peer
from appliance.core.crash import crash_here
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger import commitments
from appliance.ledger.commitments import Wanted
from appliance.ledger.engine import Ledger
from dicom_node.commit_ask import OnReport, Taken
from dicom_node.commitment import Reference, Report, Request

_log = log.get("outbox")
# A peer, what to ask of it, and who takes a report that comes at once -> what it said.
AskToCommit = Callable[[Peer, Request, OnReport], Taken]


class Committer:
    """Asks one peer at a time; the ledger knows what about."""

    def __init__(self, ledger: Ledger, ask: AskToCommit, limits: Limits = DEFAULT) -> None:
        self._ledger, self._ask, self._limits = ledger, ask, limits
        self._jitter = random.Random()
        # Peer -> how often in a row it could not be asked.
        self._failures: dict[str, int] = {}

    def turn(self, peer: Peer) -> int:
        """Ask a peer about one batch of what is due; return how many deliveries it was asked about."""
        self._expire(peer)
        at = self._ledger.clock.now()
        with self._ledger.read() as tx:
            wanted = commitments.due(tx, peer.name, at=at, limit=self._limits.commitment_references_max)
        if not wanted:
            return 0
        crash_here("commitment-due")
        # As UUIDs are (PS3.5 B.2).
        request = Request(
            transaction_uid=f"2.25.{uuid.uuid4().int}",
            references=[Reference(one.sop_class_uid, one.sop_instance_uid) for one in wanted],
        )
        with self._ledger.write() as tx:
            until = at + self._patience(commitments.asks_of(tx, wanted))
            commitment_id = commitments.ask(
                tx, peer.name, request.transaction_uid, wanted, at=at, until=until
            )
        crash_here("commitment-asked")
        taken = self._ask(peer, request, lambda report: self.reported(peer, report))
        crash_here("commitment-answered")
        self._note(peer, commitment_id, wanted, taken)
        return len(wanted)

    def reported(self, peer: Peer, report: Report) -> bool:
        """Take a report durably; say whether it answers a request made of this peer."""
        return take_report(self._ledger, peer.name, report, self._limits)

    def _expire(self, peer: Peer) -> None:
        at = self._ledger.clock.now()
        with self._ledger.read() as tx:
            overdue = commitments.is_overdue(tx, peer.name, at=at)
        if overdue:
            with self._ledger.write() as tx:
                count = commitments.expire(tx, peer.name, at=at, limits=self._limits)
            _log.warning("confirm.unanswered", peer=peer.name, objects=count)

    def _note(self, peer: Peer, commitment_id: int, wanted: Sequence[Wanted], taken: Taken) -> None:
        """Write down what came of a request."""
        at = self._ledger.clock.now()
        if taken.ok:
            self._failures.pop(peer.name, None)
            with self._ledger.write() as tx:
                until = at + self._patience(commitments.asks_of(tx, wanted))
                commitments.taken(tx, commitment_id, until=until)
            return
        failures = self._failures[peer.name] = self._failures.get(peer.name, 0) + 1
        with self._ledger.write() as tx:
            commitments.not_taken(
                tx,
                commitment_id,
                word=taken.word,
                at=at,
                due_at=at + self._backoff_seconds(failures),
                refused=taken.refused,
                limits=self._limits,
            )

    def _patience(self, asks: int) -> float:
        """Return how long a report may take: longer with each request that was not answered."""
        grown = self._limits.commitment_report_seconds * 2.0 ** min(asks, 16)
        return min(grown, self._limits.commitment_report_seconds_max)

    def _backoff_seconds(self, failures: int) -> float:
        doubled = self._limits.delivery_backoff_seconds * 2.0 ** min(failures - 1, 16)
        return min(doubled, self._limits.delivery_backoff_seconds_max) * self._jitter.uniform(0.5, 1.5)


def take_report(ledger: Ledger, peer_name: str, report: Report, limits: Limits = DEFAULT) -> bool:
    """Take a peer's report durably; say whether it answers a request made of this peer.

    The association's thread of whichever service heard it calls this.
    """
    with ledger.write() as tx:
        known = commitments.reported(
            tx,
            peer_name,
            report.transaction_uid,
            committed={one.sop_instance_uid for one in report.committed},
            failed={one.sop_instance_uid: reason for one, reason in report.failed.items()},
            at=ledger.clock.now(),
            limits=limits,
        )
    if known and report.failed:
        _log.warning("confirm.missing", peer=peer_name, objects=len(report.failed))
    return known
