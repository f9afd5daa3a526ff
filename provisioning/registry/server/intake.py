"""Where devices' batches wait for one transaction together.

Promises: an answer is given only when the batch is durable; a batch that comes alone is written at once, and
what comes within `gather_seconds` of the beginning of a transaction is the next one; what waits is bounded,
and whoever comes above the bound is told to come later.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import structlog

from appliance.core import log
from appliance.core.clock import Clock
from appliance.health.schema import Record
from provisioning.registry.database import telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.telemetry import Batch
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server.limits import ServerLimits

_log: structlog.typing.FilteringBoundLogger = log.get("registry")


class Overloaded(Exception):
    """More batches wait than may, or the database does not take them at the moment."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    batch: Batch
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[DeviceState | None]


@dataclass(kw_only=True)
class Counts:
    """What went through since the process started."""

    batches: int = 0
    records: int = 0
    transactions: int = 0
    turned_away: int = 0


@dataclass(kw_only=True)
class Intake:
    """A queue of batches, and the thread that writes them."""

    database: Database
    clock: Clock
    limits: ServerLimits
    counts: Counts = field(default_factory=Counts)
    _queue: deque[_Waiting] = field(default_factory=deque)
    # Each is written by one thread alone.
    _records_in: int = 0
    _records_out: int = 0
    _began: float = float("-inf")
    _idle: bool = False
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _ending: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    async def take(self, device: str, records: list[Record]) -> DeviceState | None:
        """Write a batch with others; return what the device is, nothing if it is unknown. Durable on return.

        Raises:
            Overloaded: too many wait, or the database failed; nothing is said of whether it was written.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(
            batch=Batch(device=device, records=records), loop=loop, answer=loop.create_future()
        )
        if self._ending or self._is_full(len(records)):
            self.counts.turned_away += 1
            raise Overloaded
        self._queue.append(waiting)
        self._records_in += len(records)
        if self._idle:
            with self._wake:
                self._wake.notify()
        # Without a clock of its own: whoever waits too long hangs up, and what waits is bounded above.
        return await waiting.answer

    def _run(self) -> None:
        while group := self._next():
            try:
                self._write(group)
            except Exception as error:  # noqa: BLE001 - the thread's main loop: each group is answered
                _log.error("registry.database_failed", error=type(error).__name__, batches=len(group))
                _tell(group, None)

    def _next(self) -> list[_Waiting]:
        """Return what is written next; nothing at the end."""
        time.sleep(max(0.0, self._began + self.limits.gather_seconds - time.monotonic()))
        with self._wake:
            # First said, then looked: whoever adds after the look sees it, and wakes this thread.
            self._idle = True
            while not self._queue and not self._ending:
                self._wake.wait()
            self._idle = False
        self._began = time.monotonic()
        group: list[_Waiting] = []
        records = 0
        while self._queue and len(group) < self.limits.batches_at_once_max:
            records += len(self._queue[0].batch.records)
            # One batch is taken whatever its size; its bound is the schema's.
            if group and records > self.limits.records_at_once_max:
                break
            group.append(self._queue.popleft())
        self._records_out += sum(len(one.batch.records) for one in group)
        return group

    def _is_full(self, more: int) -> bool:
        waiting = self._records_in - self._records_out
        return len(self._queue) >= self.limits.batches_waiting_max or (
            waiting > 0 and waiting + more > self.limits.records_waiting_max
        )

    def _write(self, group: list[_Waiting]) -> None:
        with self.database.write() as tx:
            known = telemetry.store(tx, [one.batch for one in group], at=self.clock.now())
        self.counts.transactions += 1
        self.counts.batches += len(group)
        self.counts.records += sum(len(one.batch.records) for one in group)
        _tell(group, known)


def _tell(group: list[_Waiting], known: dict[str, DeviceState] | None) -> None:
    """Answer a group in its loop, in one go; without `known`, that it could not be written."""

    def _answer() -> None:
        for one in group:
            if one.answer.done():
                continue
            if known is None:
                one.answer.set_exception(Overloaded())
            else:
                one.answer.set_result(known.get(one.batch.device))

    loop = group[0].loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(_answer)
