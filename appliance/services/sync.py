"""The sync service: looks at the registry now and then, and brings onto the box what is assigned to it."""

from __future__ import annotations

import random
from contextlib import closing

from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config
from appliance.disk.durable import NoSpace
from appliance.ledger.reading import LedgerFault
from appliance.services.stage import Stage, on_stage
from appliance.services.watching import Watching
from appliance.sync.box import ModelBox
from appliance.sync.refusal import Refusal, Word
from appliance.sync.renewal import Renewed, renew_if_due
from appliance.sync.sources import carrier_for, limits_for
from appliance.sync.turn import Syncer

_log = log.get("registry")
# A fleet whose boxes all started after one power cut must not ask all at once for ever.
_SPREAD = 0.2


def run(config: Config) -> int:
    """Look at the registry until told to stop; return the exit code. Without a registry it only waits."""
    with on_stage("sync", config) as stage:
        alive()
        box = ModelBox(config=config, ledger=stage.ledger, by="registry")
        watching = Watching(stage, box)
        watching.start()
        if config.registry.url:
            _keep_looking(stage, box, watching)
        else:
            _log.info("registry.none")
            stage.stopping.wait()
        watching.join()
        return stage.exit_code


def _keep_looking(stage: Stage, box: ModelBox, watching: Watching) -> None:
    registry = box.config.registry
    with closing(carrier_for(registry)) as carrier:
        limits = limits_for(registry)
        syncer = Syncer(box=box, carrier=carrier, limits=limits, stopping=stage.stopping.is_set)
        _turn_after_turn(stage, syncer, watching)


def _turn_after_turn(stage: Stage, syncer: Syncer, watching: Watching) -> None:
    every_seconds = stage.config.registry.every_seconds
    while not stage.stopping.is_set():
        try:
            syncer.turn()
        except (LedgerFault, NoSpace):
            # A full disk, or a ledger locked for too long: what was not written is done again.
            _log.warning("registry.not_recorded")
        look_at_the_certificate(stage.config)
        watching.wake.wait(every_seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD))
        watching.wake.clear()


def look_at_the_certificate(config: Config) -> None:
    """Renew this device's certificate when it is time; what is in the way is said once each turn."""
    try:
        done = renew_if_due(config)
    except Refusal as refusal:
        _log.warning("certificate.refused", reason=refusal.word.value)
    except NoSpace:
        _log.warning("certificate.refused", reason=Word.NO_ROOM.value)
    else:
        if done in (Renewed.RENEWED, Renewed.WAITS):
            _log.info(done.value)
