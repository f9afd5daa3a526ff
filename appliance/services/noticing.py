"""Notices at the listener: keep what peers say belongs to a study (PS3.4 R, F.7).

Promises: a notice is a row before it is answered, and wakes the conductor.
Never: decides what follows for a study.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing

from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.ledger import notices
from appliance.ledger.notices import NoticeKind, NoticeState, Room, Taken
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.stage import Stage
from dicom_node.notices import NO_LONGER_UPDATED, Availability, Change, Named, Status, Step, Unsound
from dicom_node.values import Peer

_REFUSED: Mapping[Taken, Status] = {
    Taken.DUPLICATE: Status.DUPLICATE_INSTANCE,
    Taken.TOO_MANY: Status.RESOURCE_LIMITATION,
    Taken.UNKNOWN: Status.NO_SUCH_INSTANCE,
    Taken.ENDED: Status.PROCESSING_FAILURE,
}


def is_heard(config: Config) -> bool:
    """Say whether any peer may say what belongs to a study."""
    return any("notify" in peer.may for peer in config.peers)


class Noticing:
    """What the wire asks of a clerk, on threads of associations, and a thread that rings the bell.

    A socket of ZeroMQ belongs to one thread, and whoever misses a bell looks a moment later anyway.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._came = threading.Event()
        self._thread = threading.Thread(target=self._ring, name="notices", daemon=True)
        limits = stage.limits
        self._room = Room(notices_max=limits.notices_open_max, instances_max=limits.notice_instances_open_max)

    def start(self) -> None:
        """Begin to ring."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread; it ends when the service stops."""
        if self._thread.ident is not None:
            self._thread.join(self._stage.limits.drain_seconds)

    def available(self, peer: Peer, notice: Availability) -> None:
        """Take what a peer says is available.

        Raises:
            Unsound: it is there already, or too much of the peer's is.
        """
        self._take(peer, NoticeKind.AVAILABILITY, notice.sop_instance_uid, [notice.study_uid], notice.named)

    def began(self, peer: Peer, step: Step) -> None:
        """Take a step that begins.

        Raises:
            Unsound: it is there already, or too much of the peer's is.
        """
        self._take(peer, NoticeKind.STEP, step.sop_instance_uid, step.study_uids, step.named)

    def changed(self, peer: Peer, change: Change) -> None:
        """Take what changed about a step.

        Raises:
            Unsound: the peer has no such step, it has ended, or too much of the peer's is there.
        """
        with self._stage.ledger.write() as tx:
            taken = notices.change(
                tx,
                peer.name,
                change.sop_instance_uid,
                state=None if change.state is None else NoticeState(change.state),
                named=None if change.named is None else _rows(change.named),
                reason=change.reason,
                at=self._stage.ledger.clock.now(),
                room=self._room,
            )
        self._judge(taken)

    def _take(
        self, peer: Peer, kind: NoticeKind, uid: str, study_uids: Sequence[str], named: Sequence[Named]
    ) -> None:
        at = self._stage.ledger.clock.now()
        with self._stage.ledger.write() as tx:
            taken = notices.take(tx, peer.name, kind, uid, study_uids, _rows(named), at=at, room=self._room)
        self._judge(taken)

    def _judge(self, taken: Taken) -> None:
        """Refuse what was not taken."""
        if taken in _REFUSED:
            error_id = NO_LONGER_UPDATED if taken is Taken.ENDED else None
            raise Unsound(_REFUSED[taken], taken.value, error_id=error_id)
        crash_here("notice-kept")
        self._came.set()

    def _ring(self) -> None:
        stage = self._stage
        with closing(BellCord(stage.config.run_dir)) as cord:
            while not stage.stopping.is_set():
                if self._came.wait(stage.limits.poll_seconds):
                    self._came.clear()
                    cord.ring(Ticket(Bell.ARRIVED))


def _rows(named: Sequence[Named]) -> list[notices.Named]:
    return [notices.Named(*one) for one in named]
