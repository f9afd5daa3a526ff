"""Keep a job's lease alive while it is worked on, from a thread of its own."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from appliance.core import log
from appliance.core.alive import alive
from appliance.core.limits import Limits
from appliance.ledger import jobs
from appliance.ledger.engine import Ledger
from appliance.ledger.jobs import Job
from appliance.ledger.reading import LedgerFault

_log = log.get("worker")


class Heartbeat:
    """Prolongs one lease every few seconds until closed; notices when the lease went to somebody else."""

    def __init__(self, ledger: Ledger, job: Job, limits: Limits) -> None:
        self._ledger, self._job, self._limits = ledger, job, limits
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(self._limits.heartbeat_seconds):
            try:
                mine = self._prolong()
            except LedgerFault as fault:
                # A full disk may have room again before the lease runs out; a dead thread would not notice.
                _log.error("ledger.fault", job=self._job.id, error=type(fault).__name__)
                continue
            if time.monotonic() - began < self._limits.job_seconds_max:
                alive()
            if not mine:
                # The work goes on and is thrown away at its end: a stale attempt cannot record anything.
                _log.warning("queue.stale_lease", job=self._job.id)
                return

    def _prolong(self) -> bool:
        with self._ledger.write() as tx:
            return jobs.prolong(
                tx, self._job, at=self._ledger.clock.now(), seconds=self._limits.lease_seconds
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
