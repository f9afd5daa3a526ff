"""Deliver what is due at one peer over one association, and write down what the peer said of each object.

The bytes were frozen when the result was made; they are checked against their digest and sent as they are.
Sending twice does no harm: the UIDs are the same.
Promises: once an object of a study must be tried again, nothing newer of that study goes before it (F51).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from appliance.core import log
from appliance.core.config import Peer
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger import deliveries, fallback
from appliance.ledger.deliveries import Parcel
from appliance.ledger.engine import Ledger, Tx
from appliance.spool.record import digest_of
from appliance.spool.store import Spool
from dicom_node.send import Outgoing, Sent

_log = log.get("outbox")
# A peer, what to send, and whether an object still goes when its turn comes -> what became of each, as it
# happens.
Send = Callable[[Peer, Sequence[Outgoing], Callable[[Outgoing], bool]], Iterable[Sent]]


class Courier:
    """Takes deliveries from the ledger, sends them, settles them."""

    def __init__(self, ledger: Ledger, spool: Spool, send: Send, limits: Limits = DEFAULT) -> None:
        self._ledger, self._spool, self._send, self._limits = ledger, spool, send, limits
        self._jitter = random.Random()

    def deliver(self, peer: Peer) -> int:
        """Send one batch of what is due at a peer; return how many objects were accepted."""
        with self._ledger.write() as tx:
            taken = deliveries.take(tx, peer.name, at=self._ledger.clock.now(), limits=self._limits)
        parcels = {parcel.item.sop_instance_uid: parcel for parcel in taken}
        outgoing = [item for item in map(self._load, taken) if item is not None]
        # Study -> when what must go first is due.
        held: dict[str, float] = {}

        def goes(item: Outgoing) -> bool:
            return parcels[item.sop_instance_uid].study_uid not in held

        accepted = 0
        for sent in self._send(peer, outgoing, goes) if outgoing else ():
            parcel = parcels.pop(sent.sop_instance_uid, None)
            if parcel is None:
                _log.error("courier.unasked", peer=peer.name)
                continue
            due_at = self._settle(parcel, sent, behind=parcels.values())
            if due_at is not None:
                held[parcel.study_uid] = due_at
            accepted += sent.outcome == "accepted"
        self._hold_back(parcels.values(), held)
        if outgoing:
            _log.info("courier.batch", peer=peer.name, objects=len(outgoing), accepted=accepted)
        return accepted

    def give_up(self, peer_name: str) -> int:
        """End what is due at a peer that the configuration no longer names; a person settles it (P6).

        Returns how many deliveries. Put back, the peer gets them when the person sends them again.
        """
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            taken = deliveries.take(tx, peer_name, at=now, limits=self._limits)
            for parcel in taken:
                deliveries.dead(tx, parcel, status=None, word="courier.unknown_peer", at=now)
        _log.error("courier.unknown_peer", peer=peer_name, objects=len(taken))
        return len(taken)

    def _load(self, parcel: Parcel) -> Outgoing | None:
        """Read an object's frozen bytes; one whose bytes changed is never sent (P5)."""
        item = parcel.item
        try:
            data = self._spool.read(item.location)
        except OSError:
            data = b""
        if digest_of(data) != item.digest:
            _log.critical("disk.digest_mismatch", delivery=parcel.id)
            with self._ledger.write() as tx:
                deliveries.dead(
                    tx, parcel, status=None, word="disk.digest_mismatch", at=self._ledger.clock.now()
                )
            return None
        return Outgoing(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            data=data,
        )

    def _settle(self, parcel: Parcel, sent: Sent, *, behind: Iterable[Parcel]) -> float | None:
        """Write down what became of an object; return when what now stands before the rest is due."""
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            deliveries.prolong(tx, behind, at=now, limits=self._limits)
            if sent.outcome == "accepted":
                deliveries.accepted(tx, parcel, status=sent.status, word=sent.word, at=now)
                return None
            if sent.word == "courier.no_context" and fallback.no_context(tx, parcel, at=now):
                return now
            return self._failed(tx, parcel, sent, at=now)

    def _failed(self, tx: Tx, parcel: Parcel, sent: Sent, *, at: float) -> float | None:
        """Try again later, unless the peer refused too often."""
        refused = sent.outcome == "refused"
        if refused and parcel.refusals + 1 >= self._limits.refusals_max:
            deliveries.dead(tx, parcel, status=sent.status, word=sent.word, at=at)
            return None
        due_at = at + self.backoff_seconds(parcel.attempts)
        deliveries.later(
            tx, parcel, status=sent.status, word=sent.word, at=at, due_at=due_at, refused=refused
        )
        return due_at

    def _hold_back(self, left: Iterable[Parcel], held: Mapping[str, float]) -> None:
        """Put back what did not go because an older object of its study has to go first."""
        with self._ledger.write() as tx:
            for study_uid, due_at in held.items():
                mine = [parcel for parcel in left if parcel.study_uid == study_uid]
                deliveries.hold_back(tx, mine, due_at=due_at)

    def backoff_seconds(self, attempts: int) -> float:
        """Return how long to wait after a failed attempt: doubling, capped, spread by a half either way."""
        doubled = self._limits.delivery_backoff_seconds * 2.0 ** min(attempts - 1, 16)
        return min(doubled, self._limits.delivery_backoff_seconds_max) * self._jitter.uniform(0.5, 1.5)
