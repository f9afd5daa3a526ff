"""The worker: waits for a bell or a poll, then works jobs off, the most urgent first.

One at a time, or several side by side where the site says so: each in a lane, a thread with its own bell,
all with the same engines, so that a network can take the slices of several studies in one call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial

from appliance.assemble.gather import series_facts
from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config
from appliance.ledger import jobs
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.stage import Stage, on_stage
from appliance.spool.retain import remove_unrecorded
from appliance.spool.store import Spool
from appliance.worker.attempt import Attempter
from appliance.worker.beforehand import Beforehand
from appliance.worker.engines import EngineShelf
from appliance.worker.readahead import FactsOf, ReadAhead
from appliance.worker.rehearsal import outputs_of, rehearse
from appliance.worker.shadow import ShadowThread
from appliance.worker.shadow_desk import ShadowDesk

_log = log.get("worker")


def run(config: Config) -> int:
    """Run the worker until it is told to stop; return the exit code."""
    with on_stage("worker", config, engines=",".join(config.inference.engines)) as stage:
        _take_back(stage)
        owner = f"{stage.name}:{os.getpid()}"
        beforehand, engines, desk = Beforehand(), EngineShelf(stage.ledger, config), ShadowDesk()
        attempter = Attempter(
            stage.ledger,
            config,
            owner=owner,
            limits=stage.limits,
            engines=engines,
            beforehand=beforehand,
            desk=desk,
        )
        shadow = ShadowThread(
            stage.ledger,
            config,
            engines=engines,
            beforehand=beforehand,
            desk=desk,
            owner=owner,
            limits=stage.limits,
        )
        with closing(attempter):
            rehearsal = threading.Thread(
                target=rehearse, args=(outputs_of(config),), name="rehearsal", daemon=True
            )
            rehearsal.start()
            attempter.warm_up()
            rehearsal.join()
            with _ahead(stage, beforehand, engines) as on_arrival, _beside(stage, shadow):
                # Said again: from here on the routes' models are loaded, or it is known why they are not.
                stage.up(engines=",".join(config.inference.engines), lanes=config.inference.jobs_at_once)
                _log.info("worker.ready", lanes=config.inference.jobs_at_once)
                _work(stage, attempter, on_arrival)
        return stage.exit_code


@contextmanager
def _ahead(stage: Stage, beforehand: Beforehand, engines: EngineShelf) -> Iterator[Callable[[], None]]:
    """Work ahead of the jobs where the site wants it; give what is to be called when images came."""
    config = stage.config
    if not config.inference.ahead:
        yield lambda: None
        return
    ahead = ReadAhead(stage.ledger, config, beforehand, engines, _facts_of(config), limits=stage.limits)
    ahead.start()
    try:
        yield ahead.wake
    finally:
        ahead.stop()
        ahead.join(stage.limits.drain_seconds)


@contextmanager
def _beside(stage: Stage, shadow: ShadowThread) -> Iterator[None]:
    """Let new versions of models run beside the lanes, where one was started."""
    shadow.take_back(stage.name)
    shadow.start()
    try:
        yield
    finally:
        shadow.stop()
        shadow.join(stage.limits.drain_seconds)


def _facts_of(config: Config) -> FactsOf:
    """Return how a series is measured for a route, as the conductor does it."""
    return partial(series_facts, spool=Spool(config.storage.root))


def _take_back(stage: Stage) -> None:
    """Take back what a former process of this worker had leased: it is dead, or we would not be here."""
    with stage.ledger.write() as tx:
        for job in jobs.release_dead(
            tx, at=stage.ledger.clock.now(), limits=stage.limits, owner_name=stage.name
        ):
            _log.warning("job.worker_died", job=job.id, kills=job.kills + 1)
    # After the leases: an attempt that is stale cannot record what is removed here.
    remove_unrecorded(stage.ledger, Spool(stage.config.storage.root, "results"))


def _work(stage: Stage, attempter: Attempter, on_arrival: Callable[[], None]) -> None:
    """Work in as many lanes as the site wants; when told to stop, each brings its job to an end first."""
    lanes = stage.config.inference.jobs_at_once
    if lanes == 1:
        _lane(stage, attempter, on_arrival)
        return
    with ThreadPoolExecutor(lanes, "lane") as pool:
        ends = [pool.submit(_lane, stage, attempter, on_arrival) for _ in range(lanes)]
        done, _ = wait(ends, return_when=FIRST_EXCEPTION)
        if any(end.exception() is not None for end in done):
            # What ends one lane ends the service: the others finish what they hold.
            stage.fault()
    for end in ends:
        end.result()


def _lane(stage: Stage, attempter: Attempter, on_arrival: Callable[[], None]) -> None:
    with closing(BellCord(stage.config.run_dir)) as cord:
        while not stage.stopping.is_set():
            alive()
            attempter.refresh()
            _work_off(stage, attempter, cord)
            # Said again each time: the hub may have been started anew and forgotten who is idle.
            cord.ring(Ticket(Bell.IDLE))
            ticket = cord.wait(stage.limits.poll_seconds)
            if ticket is not None and ticket.bell is Bell.ARRIVED:
                on_arrival()


def _work_off(stage: Stage, attempter: Attempter, cord: BellCord) -> None:
    """Work on everything that is due. The bell only says when to look; the ledger says at what."""
    while not stage.stopping.is_set():
        # Of as many as there are lanes, the other lanes can have taken all but one.
        if not any(attempter.attempt(job_id) for job_id in _due(stage)):
            return
        cord.ring(Ticket(Bell.DELIVERY))


def _due(stage: Stage) -> list[int]:
    now, lanes = stage.ledger.clock.now(), stage.config.inference.jobs_at_once
    with stage.ledger.read() as tx:
        due = jobs.due(tx, at=now, limit=lanes)
        return due or jobs.unexplained(tx, at=now, limits=stage.limits)[:lanes]
