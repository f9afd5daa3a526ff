"""The box at one moment: counts, balance, services, disk and queues, without any patient data.

`readside status`, the health page, the API and the metrics all show this one value.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.console import worklist
from appliance.console.limits import DEFAULT, Limits
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits import DEFAULT as CORE
from appliance.disk.space import free_bytes
from appliance.ledger import alarms, announced, assessments, commitments, counts, missing, reading, services
from appliance.ledger.engine import Ledger, Tx


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system of the storage root, in bytes."""

    free_bytes: int
    floor_bytes: int
    near_bytes: int

    @property
    def state(self) -> str:
        """Return "ok", "near" the floor, or "under" it, where receiving stops."""
        if self.free_bytes < self.floor_bytes:
            return "under"
        return "near" if self.free_bytes < self.near_bytes else "ok"


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One service: how long ago it was heard, and whether that is too long."""

    name: str
    pid: int
    started_at: float
    age_seconds: float
    silent: bool
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything about the box that names no patient; times in epoch seconds."""

    at: float
    counts: counts.Counts
    outcomes: Mapping[str, int]
    # By model version, what readers said last of its results.
    assessments: Sequence[assessments.VersionCount]
    services: Sequence[Beat]
    disk: Disk
    waiting: Sequence[reading.Waiting]
    oldest_job_seconds: float | None
    oldest_delivery_seconds: float | None
    # Studies that a PACS has and the box has not.
    missed: missing.Standing
    # Studies of which more was announced than came.
    announced: announced.Standing
    # What each PACS accepted and has not committed yet.
    uncommitted: Mapping[str, commitments.Standing]
    # None where the box has no worklist.
    worklist: worklist.Standing | None = None
    # What the box says is wrong with itself.
    alarms: Sequence[alarms.Alarm] = ()

    @property
    def silent(self) -> list[str]:
        """Return the services that were not heard for too long."""
        return [beat.name for beat in self.services if beat.silent]

    def as_dict(self) -> dict[str, Any]:
        """Return the value as JSON would write it; the counts' names are the design's."""
        tree = asdict(self)
        return {
            **tree.pop("counts"),
            "balance": self.counts.balance,
            **tree,
            "disk": {**tree["disk"], "state": self.disk.state},
            "silent": self.silent,
        }


def take(
    ledger: Ledger, config: Config, *, spool_root: Path, clock: Clock, limits: Limits = DEFAULT
) -> Snapshot:
    """Look at the box once, in one transaction."""
    now = clock.now()
    with ledger.read() as tx:
        waiting = reading.waiting_deliveries(tx, before=now)
        oldest_job = reading.oldest_waiting_job_at(tx)
        return Snapshot(
            at=now,
            counts=counts.count(tx),
            outcomes=reading.results_by_outcome(tx),
            assessments=assessments.by_version(tx),
            services=_beats(tx, now, limits),
            disk=_disk(config, spool_root, limits),
            waiting=waiting,
            oldest_job_seconds=None if oldest_job is None else max(0.0, now - oldest_job),
            oldest_delivery_seconds=max((now - entry.oldest_at for entry in waiting), default=None),
            missed=missing.standing(tx, config.reconcile.peers),
            announced=announced.standing(tx),
            uncommitted=commitments.standing(tx),
            worklist=worklist.standing(tx, config),
            alarms=alarms.current(tx),
        )


def beats(ledger: Ledger, clock: Clock, limits: Limits = DEFAULT) -> list[Beat]:
    """Return when each service was last heard."""
    with ledger.read() as tx:
        return _beats(tx, clock.now(), limits)


def _beats(tx: Tx, now: float, limits: Limits) -> list[Beat]:
    bound = CORE.heartbeat_seconds * limits.silent_heartbeats
    return [
        Beat(
            name=service.name,
            pid=service.pid,
            started_at=service.started_at,
            age_seconds=max(0.0, now - service.beat_at),
            silent=now - service.beat_at > bound,
            detail=service.detail,
        )
        for service in services.everyone(tx)
    ]


def _disk(config: Config, spool_root: Path, limits: Limits) -> Disk:
    floor = config.storage.floor_bytes
    return Disk(
        free_bytes=free_bytes(spool_root),
        floor_bytes=floor,
        near_bytes=int(floor * limits.disk_near_floor_times),
    )


class Watch:
    """One snapshot for everybody who asks within a moment."""

    def __init__(
        self, ledger: Ledger, config: Config, *, spool_root: Path, clock: Clock, limits: Limits
    ) -> None:
        self._ledger, self._config, self._spool_root = ledger, config, spool_root
        self._clock, self._limits = clock, limits
        self._lock = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None

    def look(self) -> Snapshot:
        """Return a snapshot that is at most a moment old."""
        with self._lock:
            now = self._clock.elapsed()
            if self._last is None or now - self._last[0] > self._limits.snapshot_seconds:
                self._last = (now, self._take())
            return self._last[1]

    def _take(self) -> Snapshot:
        return take(
            self._ledger, self._config, spool_root=self._spool_root, clock=self._clock, limits=self._limits
        )
