"""The conductor: moves studies along, takes work back from the dead, rings for what is due, purges."""

from __future__ import annotations

import math
from contextlib import closing

from appliance.assemble.assessments import Assessor
from appliance.assemble.decide import Decider
from appliance.assemble.gather import Gatherer
from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config
from appliance.core.words import short
from appliance.ledger import custody, deliveries, jobs, notices, services
from appliance.ledger.catalogue import Catalogue
from appliance.queue.hub import Hub
from appliance.routes.table import RouteTable
from appliance.services.confirming import start_confirming
from appliance.services.priors import Comparing
from appliance.services.reconciling import Reconciling
from appliance.services.soundness import Looking
from appliance.services.stage import Stage, living, on_stage
from appliance.services.timekeeping import Timekeeper
from appliance.services.worklist import Worklisting
from appliance.spool.retain import purge_old, purge_old_results
from appliance.spool.store import Spool

_log = log.get("conductor")
_HOUSEKEEPING_SECONDS = 60.0


def run(config: Config) -> int:
    """Run the conductor until it is told to stop; return the exit code."""
    with (
        on_stage("conductor", config, routes=len(config.routes)) as stage,
        closing(Hub(config.run_dir)) as hub,
    ):
        confirming = start_confirming(stage, config)
        reconciling, comparing = Reconciling(stage, config), Comparing(stage, config)
        reconciling.start()
        comparing.start()
        worklisting = Worklisting(stage, config)
        worklisting.start()
        looking = Looking(stage, config)
        looking.start()
        conductor = Conductor(stage, config)
        while not stage.stopping.is_set():
            alive()
            hub.listen(conductor.pause_seconds())
            conductor.turn(hub)
            stage.stopping.wait(stage.limits.turn_seconds_min)
        if confirming is not None:
            confirming.join(stage.limits.drain_seconds)
        reconciling.join()
        comparing.join()
        worklisting.join()
        looking.join()
        return stage.exit_code


class Conductor:
    """One turn does everything that is due; a turn that is never taken again loses nothing."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage, self._config = stage, config
        self._spool = Spool(config.storage.root)
        self._gatherer = Gatherer(
            stage.ledger, self._spool, config.assembly, listening_since=self._listening_since
        )
        self._decider = Decider(stage.ledger, RouteTable(config, Catalogue(stage.ledger, config)))
        self._assessor = Assessor(stage.ledger, self._spool)
        self._timekeeper = Timekeeper(stage, config.storage)
        self._tidied_at: float | None = None

    def turn(self, hub: Hub) -> None:
        """Look at the clock, gather, decide, read assessments, take back, ring, tidy."""
        self._timekeeper.look()
        self._gatherer.turn()
        self._decider.turn()
        self._assessor.turn()
        self._take_back()
        self._ring(hub)
        self._tidy()

    def pause_seconds(self) -> float:
        """Return how long to wait for a bell: until something is due, and never longer than a poll."""
        due_in = self._gatherer.next_due_at - self._stage.ledger.clock.now()
        return min(max(due_in, 0.0), self._stage.limits.poll_seconds)

    def _listening_since(self) -> float:
        """Return since when the listener answers; for ever in the future while it is down."""
        pid = living(self._config.run_dir, "listener")
        with self._stage.ledger.read() as tx:
            rows = [one for one in services.everyone(tx) if one.name == "listener" and one.pid == pid]
        return rows[0].started_at if rows else math.inf

    def _take_back(self) -> None:
        ledger, now = self._stage.ledger, self._stage.ledger.clock.now()
        with ledger.write() as tx:
            for job in jobs.release_dead(tx, at=now, limits=self._stage.limits):
                _log.warning("job.lease_expired", job=job.id, study=short(job.study_uid), kills=job.kills + 1)
            deliveries.release_dead(tx, at=now, everything=False)

    def _ring(self, hub: Hub) -> None:
        ledger, now, limits = self._stage.ledger, self._stage.ledger.clock.now(), self._stage.limits
        with ledger.read() as tx:
            due = jobs.due(tx, at=now, limit=limits.tickets_waiting_max) + jobs.unexplained(
                tx, at=now, limits=limits
            )
        for job_id in due:
            if not hub.offer(job_id):
                break

    def _tidy(self) -> None:
        clock, limits = self._stage.ledger.clock, self._stage.limits
        due = self._tidied_at is None or clock.elapsed() - self._tidied_at >= _HOUSEKEEPING_SECONDS
        with self._stage.ledger.write() as tx:
            custody.close_finished(tx)
            if due:
                now = clock.now()
                before = now - limits.notice_keep_seconds
                notices.expire(tx, before=before, at=now, limit=limits.notices_per_turn_max)
        # One batch a turn: a day's images are minutes of disk work, and studies must not wait for it.
        if due and not self._purge():
            self._tidied_at = clock.elapsed()

    def _purge(self) -> int:
        """Give up one batch of what is kept no longer; return how much that was."""
        ledger, kept = self._stage.ledger, self._timekeeper
        return purge_old(ledger, self._spool, retain_days=kept.retain_days) or purge_old_results(
            ledger, self._spool, retain_days=kept.results_days
        )
