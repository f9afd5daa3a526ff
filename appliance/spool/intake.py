"""Keep arrivals in segments: room for the bytes, one durable write with the record, then digest and row (P1).

Promises: when `keep` returns, the bytes and their record are on disk together, findable after a power cut.
Never: holds more of an instance in memory than one buffer; answers for bytes that a sync did not cover.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import DiskFault, NoSpace
from appliance.disk.space import Floor
from appliance.disk.spares import Spares
from appliance.spool.digests import Digests
from appliance.spool.incoming import SegmentIncoming, Tools
from appliance.spool.keeper import RowWriter
from appliance.spool.limits import DEFAULT, SpoolLimits
from appliance.spool.segments import Segments
from appliance.spool.staging import Staging
from appliance.spool.store import Spool
from dicom_node.errors import Refusal
from dicom_node.status import Status

_log = log.get("spool")


class SpoolIntake:
    """The listener's `Intake`: bytes to segments, rows to the writer; called on many threads at a time."""

    def __init__(
        self,
        spool: Spool,
        floor: Floor,
        rows: RowWriter,
        *,
        on_fault: Callable[[], None],
        clock: Clock = SYSTEM,
        limits: SpoolLimits = DEFAULT,
    ) -> None:
        self._limits, self._on_fault = limits, on_fault
        self._faulty = threading.Event()
        self._spares = Spares(spool.spares, spool.incoming, floor, limits=limits.disk)
        self._segments = Segments(spool.root, spool.area, self._spares, rows_in=rows.rows_in, limits=limits)
        self._staging = Staging(limits.staging_bytes, limits.staging_buffers_max)
        self._digests = Digests(
            threads=limits.digest_threads, waiting_max=limits.digests_waiting_max, on_fault=on_fault
        )
        self._tools = Tools(
            segments=self._segments,
            staging=self._staging,
            digests=self._digests,
            rows=rows,
            clock=clock,
            guarded=self._guarded,
        )

    def start(self) -> None:
        """Begin to prepare and to digest in the background; call it after the sweep."""
        self._spares.start()
        self._digests.start()

    def finish(self) -> None:
        """Hand the last rows over, then end; call it when no association is left."""
        self._digests.finish()
        self._spares.stop()

    def close(self) -> None:
        """Seal what is settled; call it when the row writer has finished."""
        self._segments.close()

    def begin(self) -> SegmentIncoming:
        """Open a place for one instance.

        Raises:
            Refusal: A700 when the disk is at its floor or too much is on its way, A701 when the disk failed.
        """
        with self._guarded(0):
            self._segments.has_room()
        buffer = self._staging.take(self._limits.staging_wait_seconds)
        if buffer is None:
            raise Refusal(Status.NO_SPACE, "receive.busy", "out of resources: too much at once")
        return SegmentIncoming(self._tools, buffer)

    def _guarded(self, length: int) -> _Guarded:
        """Turn faults of the disk into what the sender hears, where `length` bytes are to be kept."""
        if self._faulty.is_set():
            raise Refusal(Status.STORAGE_FAULT, "disk.fault", "storage fault, try later")
        return _Guarded(length, self._failed)

    def _failed(self, fault: DiskFault) -> None:
        _log.critical("disk.fault", error=str(fault))
        self._faulty.set()
        self._on_fault()


class _Guarded:
    """Turns faults of the disk into refusals; all but lack of room end the service.

    Entered twice for each instance, so it is no generator.
    """

    __slots__ = ("_failed", "_length")

    def __init__(self, length: int, failed: Callable[[DiskFault], None]) -> None:
        self._length, self._failed = length, failed

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NoSpace):
            _log.error("disk.floor", bytes=self._length)
            raise Refusal(Status.NO_SPACE, "disk.floor", "out of resources: no space") from error
        if isinstance(error, DiskFault):
            self._failed(error)
            raise Refusal(Status.STORAGE_FAULT, "disk.fault", "storage fault, try later") from error
