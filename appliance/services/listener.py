"""The listener: sweep, then answer the network until told to stop."""

from __future__ import annotations

import gc
import sys
import threading

from appliance.core import log
from appliance.core.alive import alive
from appliance.core.clock import TokenBucket
from appliance.core.config import Config
from appliance.core.turns import ask_for_short_turns
from appliance.disk.space import Floor
from appliance.ledger import events
from appliance.ledger.reading import LedgerFault
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.doors import Doors, count_of
from appliance.services.noticing import Noticing, is_heard
from appliance.services.promising import Promising, is_spoken
from appliance.services.reconciling import Reconciling
from appliance.services.stage import Stage, on_stage
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import RowWriter
from appliance.spool.limits import SpoolLimits
from appliance.spool.store import Spool
from appliance.spool.sweep import sweep
from dicom_node.limits import Limits as WireLimits
from dicom_node.receive import Reception, Refused
from dicom_node.tls import TlsFault

_log = log.get("listener")


def run(config: Config) -> int:
    """Run the listener until it is told to stop; return the exit code."""
    with on_stage("listener", config) as stage:
        return _listen(stage, config)


def _listen(stage: Stage, config: Config) -> int:
    wire = _limits(config.dicom.max_associations)
    spool = Spool(config.storage.root)
    ports = count_of(config)
    sweep(stage.ledger, spool, wire)
    bells = _Bells(config)
    rows = RowWriter(stage.ledger, spool, on_rows=bells.arrived, on_fault=stage.fault, limits=stage.limits)
    floor = Floor(config.storage.root, config.storage.floor_bytes, stage.limits.space_check_seconds)
    # Each association holds one buffer at most, and so does each peer that studies are got from; some more
    # are still being digested.
    at_once = ports * wire.associations_max + len(config.peers)
    staging = SpoolLimits(staging_buffers_max=at_once + SpoolLimits().digests_waiting_max + 2)
    intake = SpoolIntake(spool, floor, rows, on_fault=stage.fault, limits=staging)
    steward = Promising(stage, config) if is_spoken(config) else None
    clerk = Noticing(stage) if is_heard(config) else None
    refusals = _Refusals(stage)
    getting = Reconciling(stage, config, Reception(intake=intake, limits=wire, on_refused=refusals.note))
    try:
        doors = Doors(
            stage,
            config,
            intake=intake,
            limits=wire,
            on_refused=refusals.note,
            steward=steward,
            clerk=clerk,
        )
    except TlsFault as fault:
        _log.critical("tls.refused_files", reason=str(fault))
        stage.fault()
        return stage.exit_code
    # What is loaded by now stays: without this every full collection walks it while all senders wait.
    gc.freeze()
    sys.setswitchinterval(stage.limits.thread_switch_seconds)
    ask_for_short_turns(stage.limits.turn_seconds)
    rows.start()
    intake.start()
    bound = doors.start()
    getting.start()
    if steward is not None:
        steward.start()
    if clerk is not None:
        clerk.start()
    # Said again: a study's silence counts only from here on, and the sweep before may have taken long.
    stage.up(**bound)
    _log.info("listener.listening", **bound, ae_title=config.dicom.ae_title)
    alive()
    while not stage.stopping.wait(stage.limits.poll_seconds):
        doors.look()
        alive()
    if stage.faulty.is_set():
        # What is in memory may not be trusted; bytes that were acknowledged are on disk, and the sweep
        # finds them.
        doors.stop()
        return stage.exit_code
    doors.drain(stage.limits.drain_seconds)
    doors.stop()
    getting.join()
    if steward is not None:
        steward.join()
    if clerk is not None:
        clerk.join()
    intake.finish()
    rows.finish()
    intake.close()
    return stage.exit_code


def _limits(associations_max: int) -> WireLimits:
    """Return the wire's bounds; one PACS may use every association that the site allows."""
    least = WireLimits()
    return WireLimits(
        associations_max=associations_max,
        connections_per_address_max=max(least.connections_per_address_max, associations_max),
        connections_max=max(least.connections_max, 4 * associations_max),
    )


class _Refusals:
    """Writes refused instances into their study's timeline; a flood of them only to the log."""

    def __init__(self, stage: Stage) -> None:
        self._ledger = stage.ledger
        self._left = TokenBucket(stage.limits.refusal_rows_per_minute_max, stage.ledger.clock)

    def note(self, refused: Refused) -> None:
        """Make one row, on the association's thread."""
        if not self._left.take():
            return
        at = self._ledger.clock.now()
        detail = {"reason": refused.reason, "status": f"{refused.status:04X}", "peer": refused.peer_name}
        try:
            with self._ledger.write() as tx:
                events.add(tx, "receive.refused", at=at, study_uid=refused.study_uid, **detail)
        except LedgerFault as error:
            # A disk that is too full for an image may be too full for this row; the sender still gets its
            # status, and the log has its word already.
            _log.warning("receive.refusal_unrecorded", error=type(error).__name__)


class _Bells:
    """Rings on the row writer's thread, where the cord is made: a ZeroMQ socket belongs to one thread."""

    def __init__(self, config: Config) -> None:
        self._run_dir = config.run_dir
        self._local = threading.local()

    def arrived(self) -> None:
        """Tell the conductor that rows came."""
        if not hasattr(self._local, "cord"):
            self._local.cord = BellCord(self._run_dir)
        self._local.cord.ring(Ticket(Bell.ARRIVED))
