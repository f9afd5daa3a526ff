"""Ask each PACS every hour what it has, fetch what never arrived and what people ask for: a thread for each.

A PACS that sends what it is asked for (C-MOVE) is the conductor's. One that gives it on the association that
asks (C-GET) is the listener's: what comes there goes into segments, and those have one writer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.assemble.fetch import Fetcher
from appliance.assemble.reconcile import Reconciler
from appliance.core import log
from appliance.core.config import Config
from appliance.ledger.reading import LedgerFault
from appliance.services.archives import PeerArchive
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from dicom_node.receive import Reception

_log = log.get("services")


class Reconciling:
    """Looks at each PACS when the service starts, then as often as the site wants."""

    def __init__(self, stage: Stage, config: Config, reception: Reception | None = None) -> None:
        """Take the PACS that give where there is a `reception`, else those that send."""
        self._stage, self._config, self._reception = stage, config, reception
        way = "move" if reception is None else "get"
        names = [peer.name for peer in config.peers if peer.fetchable and peer.retrieve == way]
        self._beside = Beside(stage, self._keep, names, called="reconcile")

    def start(self) -> None:
        """Begin to ask."""
        self._beside.start()

    def join(self) -> None:
        """Wait for what is under way; a retrieval is called off, a question is bounded."""
        self._beside.join()

    def _keep(self, name: str) -> None:
        stage, section = self._stage, self._config.reconcile
        stopping = stage.stopping.is_set
        there = PeerArchive(self._config, name, reception=self._reception, given_up=stopping)
        fetcher = Fetcher(stage.ledger, name, there.source, stage.limits)
        reconciler = Reconciler(stage.ledger, section, name, there.archive, stage.limits)
        look_at = 0.0 if name in section.peers else math.inf
        every_seconds = section.every_minutes * 60
        try:
            while not stage.stopping.wait(stage.limits.poll_seconds):
                # What a person waits for comes first.
                with self._bearing(name):
                    fetcher.turn(stopping)
                if time.monotonic() >= look_at:
                    again = every_seconds if self._look(reconciler, name) else stage.limits.ask_again_seconds
                    look_at = time.monotonic() + min(again, every_seconds)
                if name in section.peers:
                    with self._bearing(name):
                        reconciler.turn(stopping)
        # A thread that died silently would leave "missed: 0" on the page for ever: the service starts anew.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stopping():
                _log.critical(f"{stage.name}.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()

    def _look(self, reconciler: Reconciler, name: str) -> bool:
        with self._bearing(name):
            return reconciler.look(self._stage.stopping.is_set)
        return False

    @contextmanager
    def _bearing(self, name: str) -> Iterator[None]:
        """Bear with a full disk, or a ledger locked for too long: what was not written is done again."""
        try:
            yield
        except LedgerFault:
            _log.warning("reconcile.not_recorded", peer=name)
