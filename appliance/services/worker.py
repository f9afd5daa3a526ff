"""The worker: waits for a bell or a poll, then works jobs off, one at a time."""

from __future__ import annotations

import os
from contextlib import closing

from appliance.core import log
from appliance.core.config import Config
from appliance.ledger import jobs
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.stage import Stage, on_stage
from appliance.spool.retain import remove_unrecorded
from appliance.spool.store import Spool
from appliance.worker.attempt import Attempter

_log = log.get("worker")


def run(config: Config) -> int:
    """Run the worker until it is told to stop; return the exit code."""
    with on_stage("worker", config, engines=",".join(config.inference.engines)) as stage:
        _take_back(stage)
        attempter = Attempter(stage.ledger, config, owner=f"{stage.name}:{os.getpid()}", limits=stage.limits)
        attempter.warm_up()
        _log.info("worker.ready")
        with closing(BellCord(config.run_dir)) as cord:
            while not stage.stopping.is_set():
                _work_off(stage, attempter, cord)
                # Said again each time: the hub may have been started anew and forgotten who is idle.
                cord.ring(Ticket(Bell.IDLE))
                cord.wait(stage.limits.poll_seconds)
        return stage.exit_code


def _take_back(stage: Stage) -> None:
    """Take back what a former process of this worker had leased: it is dead, or we would not be here."""
    with stage.ledger.write() as tx:
        for job in jobs.release_dead(
            tx, at=stage.ledger.clock.now(), limits=stage.limits, owner_name=stage.name
        ):
            _log.warning("job.worker_died", job=job.id, kills=job.kills + 1)
    # After the leases: an attempt that is stale cannot record what is removed here.
    remove_unrecorded(stage.ledger, Spool(stage.config.storage.root, "results"))


def _work_off(stage: Stage, attempter: Attempter, cord: BellCord) -> None:
    """Work on everything that is due. The bell only says when to look; the ledger says at what."""
    while not stage.stopping.is_set():
        now = stage.ledger.clock.now()
        with stage.ledger.read() as tx:
            due = jobs.due(tx, at=now, limit=1) or jobs.unexplained(tx, at=now, limits=stage.limits)
        if not due or not attempter.attempt(due[0]):
            return
        cord.ring(Ticket(Bell.DELIVERY))
