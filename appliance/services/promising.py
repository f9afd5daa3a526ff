"""Storage commitment at the listener: keep what peers ask for, tell them, take their reports (PS3.4 J).

Promises: a request is a row before it is answered; its report is made once every row that may follow the
bytes is there, or has had its time; a peer that cannot be reached holds no other up.
Never: commits what is not durable here at that moment.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from appliance.core import log
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.ledger import promises
from appliance.ledger.promises import Asked, Found, Promise
from appliance.ledger.reading import LedgerFault
from appliance.outbox.committing import take_report
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.commit_tell import tell
from dicom_node.commitment import Reason, Reference, Report, Request, Status, Unsound
from dicom_node.limits import Limits as WireLimits
from dicom_node.values import Peer

_log = log.get("listener")
# A report that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(acse_seconds_max=15.0, dimse_seconds_max=20.0)
_PEERS_AT_ONCE = 4
_BATCH = 20
_REASONS: Mapping[Found, Reason] = {
    Found.ABSENT: Reason.NO_SUCH_OBJECT,
    Found.DOUBTED: Reason.PROCESSING_FAILURE,
    Found.OTHER_CLASS: Reason.CLASS_CONFLICT,
}
_REFUSED: Mapping[Asked, Status] = {
    Asked.CONFLICT: Status.DUPLICATE_INVOCATION,
    Asked.TOO_MANY: Status.RESOURCE_LIMITATION,
}


def is_spoken(config: Config) -> bool:
    """Say whether the listener needs storage commitment at all: to promise, or to hear reports."""
    return config.dicom.commit or any(peer.commitment for peer in config.peers)


class Promising:
    """What the wire asks of a steward, and a thread that tells peers what they are owed."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage, self._config = stage, config
        self.commits = config.dicom.commit
        self._demanded = {peer.name for peer in config.peers if peer.commitment}
        self._peers = {peer.name: wire_peer(peer, config) for peer in config.peers}
        self._jitter = random.Random()
        # Peer -> until when nothing else is tried with it, as it did not hear; by the clock that never jumps.
        self._silent_until: dict[str, float] = {}
        self._thread = threading.Thread(target=self._keep, name="promises", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the reports that are under way; each is bounded."""
        if self._thread.ident is not None:
            self._thread.join(self._stage.limits.drain_seconds)

    def promise(self, peer: Peer, request: Request) -> None:
        """Take a request durably.

        Raises:
            Unsound: its Transaction UID is another request's, or too many of the peer's wait.
        """
        limits, at = self._stage.limits, self._stage.ledger.clock.now()
        with self._stage.ledger.write() as tx:
            asked = promises.ask(
                tx,
                peer.name,
                request.transaction_uid,
                request.references,
                at=at,
                due_at=at + limits.promise_same_seconds,
                waiting_max=limits.promises_waiting_max,
            )
        if asked in _REFUSED:
            raise Unsound(_REFUSED[asked], asked.value)
        crash_here("promise-kept")

    def report_for(self, peer: Peer, transaction_uid: str) -> Report | None:
        """Return the report that is owed, or None while it cannot be made yet."""
        with self._stage.ledger.read() as tx:
            promise = promises.find(tx, peer.name, transaction_uid)
        if promise is None or promise.state is not promises.PromiseState.OWED:
            return None
        answer = self._answer(promise)
        early = self._stage.ledger.clock.now() < promise.asked_at + self._stage.limits.promise_rows_seconds
        return None if early and Found.ABSENT in answer.values() else _report(promise, answer)

    def told(self, peer: Peer, report: Report) -> None:
        """Note that a peer took this report, which it was owed."""
        with self._stage.ledger.read() as tx:
            promise = promises.find(tx, peer.name, report.transaction_uid)
        if promise is not None:
            self._told(promise, report)

    def reported(self, peer: Peer, report: Report) -> bool:
        """Take a peer's report; one of a peer that nothing is demanded of answers no request."""
        if peer.name not in self._demanded:
            return False
        return take_report(self._stage.ledger, peer.name, report, self._stage.limits)

    def _answer(self, promise: Promise) -> dict[tuple[str, str], Found]:
        with self._stage.ledger.read() as tx:
            return promises.look(tx, promise.references, at=self._stage.ledger.clock.now())

    def _told(self, promise: Promise, report: Report) -> None:
        committed = [one.sop_instance_uid for one in report.committed]
        with self._stage.ledger.write() as tx:
            promises.reported(
                tx, promise, committed, failed=len(report.failed), at=self._stage.ledger.clock.now()
            )

    def _keep(self) -> None:
        stage = self._stage
        running: dict[str, Future[None]] = {}
        try:
            self._forget_strangers()
            with ThreadPoolExecutor(_PEERS_AT_ONCE, "promise") as pool:
                while not stage.stopping.wait(stage.limits.poll_seconds):
                    for name in [name for name, future in running.items() if future.done()]:
                        running.pop(name).result()
                    for name in self._due():
                        if name not in running:
                            running[name] = pool.submit(self._tell_all, self._peers[name])
        # A thread that died silently would leave peers without their reports: the service starts anew.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stage.stopping.is_set():
                _log.critical("listener.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()

    def _forget_strangers(self) -> None:
        with self._stage.ledger.write() as tx:
            count = promises.unknown_peers(tx, list(self._peers), at=self._stage.ledger.clock.now())
        if count:
            _log.warning("commit.unknown_peer", requests=count)

    def _due(self) -> list[str]:
        """Return the peers that are to be told something, and were not silent just now."""
        clock = self._stage.ledger.clock
        now = clock.elapsed()
        try:
            with self._stage.ledger.read() as tx:
                due = promises.peers_due(tx, at=clock.now())
        except LedgerFault:
            _log.warning("commit.not_recorded")
            return []
        return [name for name in due if name in self._peers and self._silent_until.get(name, now) <= now]

    def _tell_all(self, peer: Peer) -> None:
        """Tell one peer what it is owed, until it does not hear."""
        stage = self._stage
        try:
            with stage.ledger.read() as tx:
                owed = promises.due(tx, peer.name, at=stage.ledger.clock.now(), limit=_BATCH)
            for promise in owed:
                if stage.stopping.is_set() or not self._tell(peer, promise):
                    return
        except LedgerFault:
            # A full disk, or a ledger locked for too long: the peer is told again.
            _log.warning("commit.not_recorded", peer=peer.name)

    def _tell(self, peer: Peer, promise: Promise) -> bool:
        """Report on an association of our own; say whether the peer heard."""
        ledger, limits = self._stage.ledger, self._stage.limits
        report = _report(promise, self._answer(promise))
        word, tries_max = "commit.no_address", 1
        if peer.port:
            title = self._config.dicom.ae_title
            told = tell(peer, calling_ae=title, report=report, limits=_WIRE)
            crash_here("promise-told")
            if told.ok:
                self._told(promise, report)
                return True
            word, tries_max = told.word, limits.promise_tries_max
        at = ledger.clock.now()
        pause = self._backoff_seconds(promise)
        with ledger.write() as tx:
            over = promises.put_off(tx, promise, word=word, due_at=at + pause, tries_max=tries_max, at=at)
        if peer.port:
            self._silent_until[peer.name] = ledger.clock.elapsed() + pause
        if over:
            _log.warning("commit.given_up", peer=peer.name, reason=word)
        return False

    def _backoff_seconds(self, promise: Promise) -> float:
        limits = self._stage.limits
        doubled = limits.promise_backoff_seconds * 2.0 ** min(promise.tries, 16)
        return min(doubled, limits.promise_backoff_seconds_max) * self._jitter.uniform(0.5, 1.5)


def _report(promise: Promise, answer: Mapping[tuple[str, str], Found]) -> Report:
    return Report(
        transaction_uid=promise.transaction_uid,
        committed=[Reference(*one) for one, found in answer.items() if found is Found.KEPT],
        failed={Reference(*one): _REASONS[found] for one, found in answer.items() if found in _REASONS},
    )
