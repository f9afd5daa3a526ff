"""The courier: one sender for each peer at a time, so that a dead peer never holds up a live one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config, Peer
from appliance.ledger import deliveries
from appliance.outbox.courier import Courier
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.asker import Asker
from appliance.services.committing import Committing
from appliance.services.stage import Stage, on_stage
from appliance.services.wire import web_peer, wire_peer
from appliance.spool.store import Spool
from dicom_node.dicomweb.send import stow
from dicom_node.limits import Limits as WireLimits
from dicom_node.send import Outgoing, Sent, send

_log = log.get("courier")


def run(config: Config) -> int:
    """Run the courier until it is told to stop; return the exit code."""
    with (
        on_stage("courier", config, peers=len(config.peers)) as stage,
        closing(BellCord(config.run_dir)) as cord,
    ):
        with stage.ledger.write() as tx:
            # One courier runs at a time: what a former one was sending, it is not sending any more.
            deliveries.release_dead(tx, at=stage.ledger.clock.now(), everything=True)
        with ThreadPoolExecutor(max(len(config.peers), 1), "peer") as pool:
            round_ = _Round(stage, config, pool)
            asker = Asker(stage, config)
            asker.start()
            committing = Committing(stage, config)
            committing.start()
            while not stage.stopping.is_set():
                alive()
                round_.start_due()
                # Said again each time: the hub may have been started anew and forgotten who listens.
                cord.ring(Ticket(Bell.HELLO))
                cord.wait(stage.limits.poll_seconds)
            asker.join()
            committing.join()
        return stage.exit_code


class _Round:
    """Starts a sender for each peer that something is due for and that is not being sent to."""

    def __init__(self, stage: Stage, config: Config, pool: ThreadPoolExecutor) -> None:
        self._stage, self._pool = stage, pool
        self._peers = {peer.name: peer for peer in config.peers}
        self._running: dict[str, Future[int]] = {}
        wire = WireLimits()

        def send_to(peer: Peer, objects: Sequence[Outgoing]) -> Iterable[Sent]:
            if peer.dicomweb is not None:
                return stow(web_peer(peer, config), objects=objects, limits=wire)
            return send(
                wire_peer(peer, config), calling_ae=config.dicom.ae_title, objects=objects, limits=wire
            )

        self._courier = Courier(stage.ledger, Spool(config.storage.root, "results"), send_to, stage.limits)

    def start_due(self) -> None:
        """Start what is due; an error of a sender that nobody foresaw ends the service."""
        for name, future in list(self._running.items()):
            if future.done():
                del self._running[name]
                if future.exception() is not None:
                    _log.critical("courier.fault", peer=name, error=type(future.exception()).__name__)
                    self._stage.fault()
        with self._stage.ledger.read() as tx:
            due = deliveries.peers_due(tx, at=self._stage.ledger.clock.now())
        for name in due:
            if name not in self._peers:
                self._courier.give_up(name)
            elif name not in self._running:
                self._running[name] = self._pool.submit(self._courier.deliver, self._peers[name])
