"""Perform a worklist's workitems beside the conductor, in a thread that a dead server may hold up.

Polls; a subscription to events (PS3.18 11.10, over a WebSocket) is not built.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.assemble.decide import Decider
from appliance.assemble.worklist import Performer
from appliance.core import log
from appliance.core.config import Config
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.reading import LedgerFault
from appliance.routes.table import RouteTable
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from appliance.services.wire import worklist_peer
from dicom_node.dicomweb.ups import UpsClient
from dicom_node.limits import Limits as WireLimits

_log = log.get("services")
# A question that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(connect_seconds_max=10.0, dimse_seconds_max=20.0)


class Worklisting:
    """Asks for workitems as often as the site wants, and looks after those that are under way."""

    def __init__(self, stage: Stage, config: Config) -> None:
        """Take the site's worklist, where it has one."""
        self._stage, self._config = stage, config
        names = [] if config.worklist.url is None else ["worklist"]
        self._beside = Beside(stage, self._keep, names, called="perform")

    def start(self) -> None:
        """Begin to ask."""
        self._beside.start()

    def join(self) -> None:
        """Wait for the request that is under way; it is bounded."""
        self._beside.join()

    def _keep(self, name: str) -> None:
        stage, section = self._stage, self._config.worklist
        stopping = stage.stopping.is_set
        title = self._config.dicom.ae_title
        client = UpsClient(worklist_peer(self._config), requester=title, limits=_WIRE)
        # A table of its own: the conductor's belongs to its turns.
        decider = Decider(stage.ledger, RouteTable(self._config, Catalogue(stage.ledger, self._config)))
        performer = Performer(stage.ledger, self._config, client, stage.limits, also=decider.also)
        look_at = 0.0
        try:
            while not stage.stopping.wait(stage.limits.poll_seconds):
                with self._bearing():
                    performer.turn(stopping)
                if time.monotonic() >= look_at:
                    with self._bearing():
                        performer.look(stopping)
                    look_at = time.monotonic() + section.poll_seconds
        # A thread that died silently would leave claimed workitems in progress for ever.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stopping():
                _log.critical(f"{stage.name}.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()

    @contextmanager
    def _bearing(self) -> Iterator[None]:
        """Bear with a full disk, or a ledger locked for too long: what was not written is done again."""
        try:
            yield
        except LedgerFault:
            _log.warning("worklist.not_recorded")
