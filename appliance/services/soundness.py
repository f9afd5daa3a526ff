"""Look through the ledger's file once a day, beside the conductor's work.

A box whose ledger is damaged must not go on as if it were not: the conductor ends and says why, and a start
of the box is refused. The listener goes on: what it acknowledges is safe in the spool without a row.
"""

from __future__ import annotations

from appliance.core import log
from appliance.core.config import Config
from appliance.ledger import soundness
from appliance.services.beside import Beside
from appliance.services.stage import Stage

_log = log.get("services")


class Looking:
    """A thread that looks, and ends its service at a fault."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage, self._url = stage, config.ledger_url
        self._beside = Beside(stage, self._keep, ["ledger"], called="soundness")

    def start(self) -> None:
        """Begin."""
        self._beside.start()

    def join(self) -> None:
        """Wait for a look that is under way; it is called off."""
        self._beside.join()

    def _keep(self, _name: str) -> None:
        stage, limits = self._stage, self._stage.limits
        wait = limits.ledger_first_look_seconds
        while not stage.stopping.wait(wait):
            wait = limits.ledger_look_every_seconds
            found = soundness.look(
                self._url, seconds_max=limits.ledger_look_seconds_max, given_up=stage.stopping.is_set
            )
            if found.faults:
                faults, first = len(found.faults), found.faults[0]
                _log.critical("ledger.damaged", faults=faults, first=first, do=soundness.ADVICE)
                stage.fault()
            elif not found.is_whole and not stage.stopping.is_set():
                _log.warning("ledger.unchecked", seconds=limits.ledger_look_seconds_max)
