"""The health service: looks at the box now and then, raises alarms, and puts numbers into the outbox."""

from __future__ import annotations

from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config
from appliance.health.limits import LOOK
from appliance.health.outbox import Outbox, OutboxFault, folder_of
from appliance.health.reporter import Reporter
from appliance.ledger.reading import LedgerFault
from appliance.services.outside import OutsideOf
from appliance.services.stage import on_stage
from appliance.sync.release import reference

_log = log.get("health")
_LOOK_SECONDS = 1.0


def run(config: Config) -> int:
    """Look at the box until told to stop; return the exit code."""
    with on_stage("health", config, telemetry=config.registry.told) as stage:
        reporter = Reporter(
            ledger=stage.ledger,
            config=config,
            outbox=Outbox(folder=folder_of(config.storage.root), clock=stage.ledger.clock),
            outside=OutsideOf(ledger=stage.ledger, config=config),
            number_of=reference,
        )
        due_at = stage.ledger.clock.elapsed()
        while not stage.stopping.wait(_LOOK_SECONDS):
            alive()
            if stage.ledger.clock.elapsed() < due_at:
                continue
            due_at = stage.ledger.clock.elapsed() + LOOK.every_seconds
            try:
                reporter.turn()
            except (LedgerFault, OutboxFault, OSError) as error:
                # A full disk, or a ledger locked for too long: the next look sees what this one did not.
                _log.warning("health.not_looked", error=type(error).__name__)
        return stage.exit_code
