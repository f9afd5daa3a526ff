"""Beside the turns of the sync service: how a new release does among studies, and whether a wait is over.

A turn may fetch for hours; what does badly meanwhile is sent back all the same.

Promises: needs no registry, so a box that is only served by sticks is watched too.
Never: asks anybody outside of this box.
"""

from __future__ import annotations

import threading

from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace
from appliance.ledger.reading import LedgerFault
from appliance.services.stage import Stage
from appliance.sync.box import ModelBox
from appliance.sync.floors import book_of
from appliance.sync.gates import Gates
from appliance.sync.limits import STEPS, StepLimits
from appliance.sync.refusal import Refusal
from appliance.sync.soak import Watch

_log = log.get("registry")


class Watching:
    """A thread that looks every few seconds; `wake` is set when a turn is worth taking now."""

    def __init__(self, stage: Stage, box: ModelBox, *, limits: StepLimits = STEPS) -> None:
        self._stage, self._box, self._limits = stage, box, limits
        self._watch = Watch(box=box, floors=book_of(box.config))
        self._gates = Gates(config=box.config, limits=limits)
        self._lifted: frozenset[tuple[str, int]] = frozenset()
        self.wake = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="watching", daemon=True)

    def start(self) -> None:
        """Begin; it ends with the service."""
        self._thread.start()

    def join(self) -> None:
        """Wait for a look that is under way."""
        self._thread.join(self._stage.limits.drain_seconds)

    def look(self) -> bool:
        """Look once; say whether something went back, or something that waited may go on since now."""
        back = self._watch.look()
        with self._box.ledger.read() as tx:
            lifted = self._gates.lifted(tx, at=self._box.now())
        # Said once: a registry that does not answer is not asked every few seconds because of it.
        fresh, self._lifted = lifted - self._lifted, lifted
        return bool(back or fresh)

    def _keep(self) -> None:
        try:
            while not self._stage.stopping.wait(self._limits.look_seconds):
                self._look_or_say()
        # A thread's main loop: a service that does not watch must not go on as if it did.
        except Exception as error:  # noqa: BLE001
            _log.error("registry.unforeseen", error=type(error).__name__, where=log.where(error))
            self._stage.fault()
        finally:
            self.wake.set()

    def _look_or_say(self) -> None:
        try:
            if self.look():
                self.wake.set()
        except (LedgerFault, NoSpace, DiskFault) as error:
            _log.warning("registry.not_watched", error=type(error).__name__)
        except Refusal as refusal:
            _log.error("registry.not_watched", word=refusal.word.value, reason=refusal.sentence)
