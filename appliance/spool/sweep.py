"""Reconcile bytes and rows at start, after whatever ended the last process.

Bytes without a row get their row, and a duplicate's bytes go.
What does not hold what its record says goes to the quarantine folder.
A row whose bytes are gone is quarantined too: it is never silently believed.
Must run before anything is received; nothing else may write the area meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core import log
from appliance.core.instance import Location
from appliance.disk.durable import remove_file
from appliance.ledger import arrivals, custody
from appliance.ledger.engine import Ledger
from appliance.spool.alone import alone
from appliance.spool.keeper import write_rows
from appliance.spool.rebuild import row_of
from appliance.spool.record import HEAD_BYTES, RecordFault, decode
from appliance.spool.set_aside import set_file_aside
from appliance.spool.store import Spool
from appliance.spool.sweep_segments import SegmentSweep
from dicom_node.errors import Refusal
from dicom_node.limits import Limits as WireLimits

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
    """Bring the `kept` area and its rows together again; a purge that is under way ends first."""
    with alone(spool, wait=True):
        return _sweep(ledger, spool, wire)


def _sweep(ledger: Ledger, spool: Spool, wire: WireLimits) -> Swept:
    unfinished = spool.clear_incoming()
    with ledger.read() as tx:
        known = custody.known_files(tx)
    came = _sweep_files(ledger, spool, wire, known)
    segments = SegmentSweep(ledger, spool, wire)
    for path in spool.segments():
        came += segments.sweep(path)
    gone = known - set(spool.names()) - {spool.name_of(path) for path in spool.segments()}
    swept = Swept(
        unfinished=unfinished,
        completed=sum(c is not None and c is not arrivals.Arrived.DUPLICATE for c in came),
        duplicates=came.count(arrivals.Arrived.DUPLICATE),
        quarantined=came.count(None),
        missing=segments.missing + _quarantine_missing(ledger, gone),
    )
    _log.info("sweep.done", **vars(swept))
    return swept


def _sweep_files(
    ledger: Ledger, spool: Spool, wire: WireLimits, known: set[str]
) -> list[arrivals.Arrived | None]:
    """Go through the files that hold one instance each."""
    unknown = sorted(set(spool.names()) - known)
    with ledger.read() as tx:
        purged = custody.purged_among(tx, unknown)
    for name in purged:
        remove_file(spool.root / name)
    return [_complete(ledger, spool, wire, name) for name in unknown if name not in purged]


def _complete(ledger: Ledger, spool: Spool, wire: WireLimits, name: str) -> arrivals.Arrived | None:
    """Make the row of a file that has none; nothing if the file had to be quarantined."""
    try:
        whole = (spool.root / name).read_bytes()
        location = Location(file=name, offset=HEAD_BYTES, length=max(len(whole) - HEAD_BYTES, 0))
        row = row_of(memoryview(whole)[HEAD_BYTES:], decode(whole[:HEAD_BYTES]), location, wire)
    # A file that the disk cannot read would else keep the listener from ever starting.
    except (RecordFault, Refusal, OSError) as fault:
        set_file_aside(ledger, spool, name, fault)
        return None
    return write_rows(ledger, spool, [row])[0]


def _quarantine_missing(ledger: Ledger, names: set[str]) -> int:
    if not names:
        return 0
    with ledger.write() as tx:
        return custody.quarantine(
            tx, sorted(names), reason="the bytes are not on disk", at=ledger.clock.now()
        )
