"""Deliver what is due at one peer over one association, and write down what the peer said of each object.

The bytes were frozen when the result was made; they are checked against their digest and sent as they are.
Sending twice does no harm: the UIDs are the same.
Promises: a result goes after what it replaces is settled with that peer (F51); the ledger gives it no sooner.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from appliance.core import log
from appliance.core.config import Peer
from appliance.core.crash import crash_here
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger import commitments, deliveries, fallback
from appliance.ledger.deliveries import Parcel
from appliance.ledger.engine import Ledger, Tx
from appliance.spool.record import digest_of
from appliance.spool.store import Spool
from dicom_node.send import Outgoing, Sent

_log = log.get("outbox")
# A peer and what to send -> what became of each object, as it happens.
Send = Callable[[Peer, Sequence[Outgoing]], Iterable[Sent]]


class Courier:
    """Takes deliveries from the ledger, sends them, settles them."""

    def __init__(self, ledger: Ledger, spool: Spool, send: Send, limits: Limits = DEFAULT) -> None:
        self._ledger, self._spool, self._send, self._limits = ledger, spool, send, limits
        self._jitter = random.Random()

    def deliver(self, peer: Peer) -> int:
        """Send one batch of what is due at a peer; return how many objects were accepted."""
        with self._ledger.write() as tx:
            taken = deliveries.take(tx, peer.name, at=self._ledger.clock.now(), limits=self._limits)
        crash_here("courier-taken")
        parcels = {parcel.item.sop_instance_uid: parcel for parcel in taken}
        outgoing = [item for item in map(self._load, taken) if item is not None]
        accepted = 0
        for sent in self._send(peer, outgoing) if outgoing else ():
            parcel = parcels.pop(sent.sop_instance_uid, None)
            if parcel is None:
                _log.error("courier.unasked", peer=peer.name)
                continue
            self._settle(parcel, sent, behind=parcels.values(), confirm=peer.commitment)
            accepted += sent.outcome == "accepted"
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

    def _settle(self, parcel: Parcel, sent: Sent, *, behind: Iterable[Parcel], confirm: bool) -> None:
        crash_here("courier-answered")
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            deliveries.prolong(tx, behind, at=now, limits=self._limits)
            if sent.outcome == "accepted":
                done = deliveries.accepted(tx, parcel, status=sent.status, word=sent.word, at=now)
                if done and confirm:
                    due_at = now + self._limits.commitment_settle_seconds
                    commitments.want(tx, parcel.id, parcel.peer, due_at=due_at)
            elif sent.word != "courier.no_context" or not fallback.no_context(tx, parcel, at=now):
                self._failed(tx, parcel, sent, at=now)
        crash_here("courier-settled")

    def _failed(self, tx: Tx, parcel: Parcel, sent: Sent, *, at: float) -> None:
        """Try again later, unless the peer refused too often."""
        refused = sent.outcome == "refused"
        if refused and parcel.refusals + 1 >= self._limits.refusals_max:
            deliveries.dead(tx, parcel, status=sent.status, word=sent.word, at=at)
        else:
            due_at = at + self.backoff_seconds(deliveries.failures(tx, parcel) + 1)
            deliveries.later(
                tx, parcel, status=sent.status, word=sent.word, at=at, due_at=due_at, refused=refused
            )

    def backoff_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures: doubling, capped, spread by a half either way."""
        doubled = self._limits.delivery_backoff_seconds * 2.0 ** min(failures - 1, 16)
        return min(doubled, self._limits.delivery_backoff_seconds_max) * self._jitter.uniform(0.5, 1.5)
