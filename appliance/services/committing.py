"""Have each PACS commit what it accepted: a thread for each that the site demands it of."""

from __future__ import annotations

from appliance.core import log
from appliance.core.config import Config, Peer
from appliance.ledger import commitments
from appliance.ledger.reading import LedgerFault
from appliance.outbox.committing import Committer
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.commit_ask import OnReport, Taken, ask_to_commit
from dicom_node.commitment import Request
from dicom_node.limits import Limits as WireLimits

_log = log.get("courier")
# A question that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(acse_seconds_max=15.0, dimse_seconds_max=20.0)


class Committing:
    """Asks as soon as something is due."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage = stage
        self._peers = {peer.name: peer for peer in config.peers if peer.commitment and peer.reachable}

        def ask(peer: Peer, request: Request, on_report: OnReport) -> Taken:
            return ask_to_commit(
                wire_peer(peer, config),
                calling_ae=config.dicom.ae_title,
                request=request,
                on_report=on_report,
                limits=_WIRE,
            )

        self._committer = Committer(stage.ledger, ask, stage.limits)
        self._beside = Beside(stage, self._keep, self._peers, called="commit")

    def start(self) -> None:
        """Forget peers that need not commit any more, and begin to ask the others."""
        with self._stage.ledger.write() as tx:
            forgotten = commitments.unwant(tx, list(self._peers), at=self._stage.ledger.clock.now())
        if forgotten:
            _log.warning("confirm.not_wanted", objects=forgotten)
        self._beside.start()

    def join(self) -> None:
        """Wait for the question that is under way; it is bounded."""
        self._beside.join()

    def _keep(self, name: str) -> None:
        stage = self._stage
        try:
            while not stage.stopping.wait(stage.limits.poll_seconds):
                try:
                    self._committer.turn(self._peers[name])
                except LedgerFault:
                    # A full disk, or a ledger locked for too long: what was asked is asked again.
                    _log.warning("confirm.not_recorded", peer=name)
        # A thread that died silently would leave deliveries unasked for ever: the service starts anew.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stage.stopping.is_set():
                _log.critical("courier.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()
