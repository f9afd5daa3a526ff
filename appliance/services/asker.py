"""Ask every destination what it takes: a thread for each, so that a dead one holds nothing up."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.core import log
from appliance.core.config import Config, Peer
from appliance.disk.durable import make_folder
from appliance.ledger.engine import Ledger
from appliance.ledger.reading import LedgerFault
from appliance.outbox.asking import Asked, Asking, destinations
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.accepts import Accepts, Pair, accepts
from dicom_node.limits import Limits as WireLimits

_log = log.get("courier")
# A question that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(acse_seconds_max=15.0)
BUSY = "accepts.busy"


def asking(config: Config, ledger: Ledger) -> Asking:
    """Return what asks this site's peers over the wire."""

    def ask(peer: Peer, pairs: Sequence[Pair]) -> Accepts:
        with _alone(config.run_dir, peer.name) as alone:
            if not alone:
                return Accepts(answered=False, word=BUSY, accepted=frozenset())
            return accepts(
                wire_peer(peer, config), calling_ae=config.dicom.ae_title, pairs=pairs, limits=_WIRE
            )

    return Asking(ledger, ask)


@contextmanager
def _alone(run_dir: Path, name: str) -> Iterator[bool]:
    """Say whether nobody else on this machine asks this peer now, and keep it so."""
    with (make_folder(run_dir) / f"asking.{name}.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


class Asker:
    """Asks each destination when the service starts, and again when its answer grows old."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage, self._asking = stage, asking(config, stage.ledger)
        self._peers = {peer.name: peer for peer in destinations(config)}
        self._beside = Beside(stage, self._keep_asking, self._peers, called="ask")

    def start(self) -> None:
        """Begin to ask."""
        self._beside.start()

    def join(self) -> None:
        """Wait for the questions that are under way; each is bounded."""
        self._beside.join()

    def _keep_asking(self, name: str) -> None:
        """Ask at once, whatever was said before: the peer or its entry may be another since then."""
        peer = self._peers[name]
        answered = self._ask(peer)
        while not self._stage.stopping.wait(self._pause_seconds(peer, answered=answered)):
            if self._due_in_seconds(peer) == 0.0 or not answered:
                answered = self._ask(peer)

    def _ask(self, peer: Peer) -> bool:
        try:
            said: Asked = self._asking.ask(peer)
        except (LedgerFault, OSError):
            # A full disk, or a ledger locked for too long: the peer is asked again as if it had been silent.
            _log.warning("accepts.not_recorded", peer=peer.name)
            return False
        return said.answered

    def _due_in_seconds(self, peer: Peer) -> float:
        try:
            return self._asking.due_in_seconds(peer)
        except LedgerFault:
            return self._stage.limits.ask_again_seconds

    def _pause_seconds(self, peer: Peer, *, answered: bool) -> float:
        again = self._stage.limits.ask_again_seconds
        return max(self._due_in_seconds(peer), again) if answered else again
