"""Reconcile files and rows at start, after whatever ended the last process.

Bytes without a row get their row, and a duplicate's bytes go.
A file that does not hold what its record says goes to the quarantine folder.
A row whose bytes are gone is quarantined too: it is never silently believed.
Must run before anything is received; nothing else may write the area meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from appliance.core import log
from appliance.core.instance import Location
from appliance.core.words import short
from appliance.disk.durable import make_folder, remove_file, sync_folder
from appliance.ledger import arrivals, custody, events
from appliance.ledger.engine import Ledger
from appliance.spool.keeper import Row, instance_of, write_rows
from appliance.spool.record import HEAD_BYTES, RecordFault, decode, digest_of
from appliance.spool.store import Spool
from dicom_node.errors import Refusal
from dicom_node.limits import Limits as WireLimits
from dicom_node.preflight import inspect, scan

_log = log.get("sweep")


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep found."""

    unfinished: int
    completed: int
    duplicates: int
    quarantined: int
    missing: int


def sweep(ledger: Ledger, spool: Spool, wire: WireLimits) -> Swept:
    """Bring the `kept` area and its rows together again."""
    unfinished = spool.clear_incoming()
    with ledger.read() as tx:
        known = custody.known_files(tx)
    present = set(spool.names())
    unknown = sorted(present - known)
    with ledger.read() as tx:
        purged = custody.purged_among(tx, unknown)
    for name in purged:
        remove_file(spool.root / name)
    came = [_complete(ledger, spool, wire, name) for name in unknown if name not in purged]
    missing = _quarantine_missing(ledger, known - present)
    swept = Swept(
        unfinished=unfinished,
        completed=sum(c is not None and c is not arrivals.Arrived.DUPLICATE for c in came),
        duplicates=came.count(arrivals.Arrived.DUPLICATE),
        quarantined=came.count(None),
        missing=missing,
    )
    _log.info("sweep.done", **vars(swept))
    return swept


def _complete(ledger: Ledger, spool: Spool, wire: WireLimits, name: str) -> arrivals.Arrived | None:
    """Make the row of a file that has none; nothing if the file had to be quarantined."""
    try:
        row = _row_of(spool, wire, name)
    # A file that the disk cannot read would else keep the listener from ever starting.
    except (RecordFault, Refusal, OSError) as fault:
        _set_aside(ledger, spool, name, fault)
        return None
    return write_rows(ledger, spool, [row])[0]


def _row_of(spool: Spool, wire: WireLimits, name: str) -> Row:
    whole = (spool.root / name).read_bytes()
    record = decode(whole[:HEAD_BYTES])
    data = whole[HEAD_BYTES:]
    digest = digest_of(data)
    if (len(data), digest) != (record.length, record.digest):
        raise RecordFault("the bytes are not those that were kept")
    header = inspect(
        data,
        scan(data, record.transfer_syntax_uid, wire),
        sop_class_uid=record.sop_class_uid,
        sop_instance_uid=record.sop_instance_uid,
    )
    location = Location(file=name, offset=HEAD_BYTES, length=len(data))
    instance = instance_of(header, location, digest)
    return Row(instance=instance, calling_ae=record.calling_ae, received_at=record.received_at)


def _set_aside(ledger: Ledger, spool: Spool, name: str, fault: Exception) -> None:
    """Move a file that cannot be trusted out of the way; a person may look at it."""
    folder = make_folder(spool.root / "quarantine")
    source = spool.root / name
    os.rename(source, folder / source.name)
    sync_folder(folder)
    sync_folder(source.parent)
    _log.error("sweep.quarantined", fault=type(fault).__name__, file=short(name))
    with ledger.write() as tx:
        events.add(tx, "sweep.quarantined", at=ledger.clock.now(), file=source.name, fault=_said(fault))


def _said(fault: Exception) -> str:
    return f"the disk failed: {fault.strerror}" if isinstance(fault, OSError) else str(fault)


def _quarantine_missing(ledger: Ledger, names: set[str]) -> int:
    if not names:
        return 0
    with ledger.write() as tx:
        return custody.quarantine(
            tx, sorted(names), reason="the bytes are not on disk", at=ledger.clock.now()
        )
