"""Keep an arrival: room, bytes, sync, record; then the row, in a batch with others (P1).

On return of `keep` the bytes and their record survive a power cut.
The ledger row follows within moments; if the process dies first, the sweep at the next start makes it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.core.instance import Instance, Location
from appliance.core.limits import DEFAULT, Limits
from appliance.disk.durable import DiskFault, NoSpace
from appliance.disk.space import Floor
from appliance.ledger import arrivals
from appliance.ledger.engine import Ledger
from appliance.spool.record import Record
from appliance.spool.store import Spool
from dicom_node.errors import Refusal
from dicom_node.memory import Held
from dicom_node.preflight import Header
from dicom_node.status import Status

_log = log.get("spool")


@dataclass(frozen=True, kw_only=True)
class Row:
    """An instance whose bytes are durable and whose ledger row is not yet."""

    instance: Instance
    calling_ae: str
    received_at: float


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

    def run(self) -> None:
        """Write batches until told to finish."""
        try:
            while batch := self._batch():
                write_rows(self._ledger, self._spool, batch)
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
        time.sleep(self._limits.rows_gather_seconds)
        batch = [first]
        while len(batch) < self._limits.rows_per_commit_max and not self._waiting.empty():
            row = self._waiting.get()
            if row is None:
                self._waiting.put(None)
                break
            batch.append(row)
        return batch


def write_rows(ledger: Ledger, spool: Spool, rows: Sequence[Row]) -> list[arrivals.Arrived]:
    """Record kept instances in one transaction, then remove the bytes of those the box already had."""
    with ledger.write() as tx:
        came = [arrivals.add(tx, row.instance, calling_ae=row.calling_ae, at=row.received_at) for row in rows]
    for row, arrived in zip(rows, came, strict=True):
        if arrived in (arrivals.Arrived.DUPLICATE, arrivals.Arrived.CAME_BACK):
            spool.remove(row.instance.location)
    return came


class SpoolKeeper:
    """Keeps what a `MemoryIntake` gathered: bytes to the spool, rows to the writer."""

    def __init__(
        self,
        spool: Spool,
        floor: Floor,
        rows: RowWriter,
        *,
        on_fault: Callable[[], None],
        clock: Clock = SYSTEM,
    ) -> None:
        self._spool, self._floor, self._rows = spool, floor, rows
        self._on_fault, self._clock = on_fault, clock
        self._faulty = threading.Event()

    def keep(self, arrival: Held) -> None:
        """Keep one instance; durable on return.

        Raises:
            Refusal: A700 when the disk is at its floor or full, A701 when it failed; nothing of it is kept.
        """
        if self._faulty.is_set():
            raise Refusal(Status.STORAGE_FAULT, "disk.fault", "storage fault, try later")
        try:
            self._rows.put(self._written(arrival))
        except NoSpace as error:
            _log.error("disk.floor", bytes=len(arrival.data))
            raise Refusal(Status.NO_SPACE, "disk.floor", "out of resources: no space") from error
        except DiskFault as error:
            _log.critical("disk.fault", error=str(error))
            self._faulty.set()
            self._on_fault()
            raise Refusal(Status.STORAGE_FAULT, "disk.fault", "storage fault, try later") from error

    def _written(self, arrival: Held) -> Row:
        self._floor.admit(len(arrival.data))
        at = self._clock.now()
        with self._spool.begin() as writing:
            writing.write(arrival.data)
            record = Record(
                sop_class_uid=arrival.header.sop_class_uid,
                sop_instance_uid=arrival.header.sop_instance_uid,
                transfer_syntax_uid=arrival.header.transfer_syntax_uid,
                calling_ae=arrival.calling_ae,
                received_at=at,
                length=writing.length,
                digest=writing.digest,
            )
            location = writing.commit(record)
        instance = instance_of(arrival.header, location, record.digest)
        return Row(instance=instance, calling_ae=arrival.calling_ae, received_at=at)


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
