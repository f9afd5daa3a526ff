"""The rows of what is kept: they follow the bytes within moments, in batches (P1).

Promises: a row is written for each instance that is handed over, or the service ends.
Never: holds an answer up; if the process dies first, the sweep at the next start makes the rows.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.core import log
from appliance.core.crash import crash_here
from appliance.core.instance import Instance, Location
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger import arrivals, custody
from appliance.ledger.engine import Ledger
from appliance.spool.store import Spool
from dicom_node.preflight import Header

_log = log.get("spool")
_SUPERFLUOUS = (arrivals.Arrived.DUPLICATE, arrivals.Arrived.CAME_BACK)


def _nothing() -> None:
    """Do nothing: the default for `settled`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An instance whose bytes are durable and whose ledger row is not yet."""

    instance: Instance
    calling_ae: str
    received_at: float
    # Called once the ledger knows it.
    settled: Callable[[], None] = _nothing


class RowWriter(threading.Thread):
    """Writes ledger rows in batches; ends the process's service on the first fault."""

    def __init__(
        self, ledger: Ledger, spool: Spool, *, on_rows: Callable[[], None], on_fault: Callable[[], None],
        limits: Limits = DEFAULT,
    ) -> None:  # fmt: skip
        super().__init__(name="rows", daemon=True)
        self._ledger, self._spool, self._limits = ledger, spool, limits
        self._on_rows, self._on_fault = on_rows, on_fault
        self._waiting: queue.Queue[Row | None] = queue.Queue(limits.rows_waiting_max)

    def put(self, row: Row) -> None:
        """Hand a row over; waits while too many are waiting, which slows the sender down."""
        self._waiting.put(row)

    def finish(self) -> None:
        """Write what is waiting, then end."""
        self._waiting.put(None)
        self.join()

    def rows_in(self, file: str) -> int:
        """Count the rows that name a spool file."""
        with self._ledger.read() as tx:
            return len(custody.claims(tx, file))

    def run(self) -> None:
        """Write batches until told to finish."""
        try:
            while batch := self._batch():
                write_rows(self._ledger, self._spool, batch)
                for row in batch:
                    row.settled()
                self._on_rows()
        # A thread that died silently would let rows pile up: whatever it was, the service must end and sweep.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            _log.critical("ledger.fault", error=type(error).__name__)
            self._on_fault()

    def _batch(self) -> list[Row]:
        """Wait for one row and take those that wait behind it; nothing once told to finish."""
        first = self._waiting.get()
        if first is None:
            return []
        self._gather()
        batch = [first]
        while len(batch) < self._limits.rows_per_commit_max and not self._waiting.empty():
            row = self._waiting.get()
            if row is None:
                self._waiting.put(None)
                break
            batch.append(row)
        return batch

    def _gather(self) -> None:
        """Wait while rows keep coming: the fewer the commits, the less the arrivals lose by them."""
        limits, seen = self._limits, -1
        until = time.monotonic() + limits.rows_gather_seconds_max
        while seen < (seen := self._waiting.qsize()) < limits.rows_per_commit_max:
            if time.monotonic() >= until:
                return
            time.sleep(limits.rows_gather_seconds)


def write_rows(ledger: Ledger, spool: Spool, rows: Sequence[Row]) -> list[arrivals.Arrived]:
    """Record kept instances in one transaction, then remove the bytes of those the box already had."""
    crash_here("rows-unwritten")
    with ledger.write() as tx:
        came = arrivals.add_all(tx, [_arriving(row) for row in rows])
        crash_here("rows-open")
    crash_here("rows-committed")
    spool.remove_all(
        [row.instance.location for row, arrived in zip(rows, came, strict=True) if arrived in _SUPERFLUOUS]
    )
    return came


def _arriving(row: Row) -> arrivals.Arriving:
    return arrivals.Arriving(instance=row.instance, calling_ae=row.calling_ae, at=row.received_at)


def instance_of(header: Header, location: Location, digest: str) -> Instance:
    """Join what a header said with where its bytes lie."""
    return Instance(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        location=location,
        digest=digest,
        pixel_offset=header.pixel_offset,
        pixel_bytes=header.pixel_bytes,
        facts=header.facts,
    )
