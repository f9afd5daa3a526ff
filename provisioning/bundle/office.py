"""Take receipts at the registry: each held against the key of the device that it names, and recorded.

Promises: only what an enrolled device signed is recorded; the same receipt again changes nothing; a receipt
that is older than what is known adds to the past and does not become the present.
Never: believes the name in a receipt; the key says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisioning.bundle import receipt as receipts
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits
from provisioning.bundle.receipt import Read
from provisioning.registry.database import audit, devices, telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.telemetry import Batch
from provisioning.registry.database.words import DeviceState

RECORDED, KNOWN = "recorded", "known"
UNSIGNED, UNKNOWN, FORGED, JUNK = "unsigned", "unknown_device", "forged", "no_receipt"
WELL = (RECORDED, KNOWN)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of one file; `said` is the receipt in a line, or why it is none."""

    file: str
    word: str
    said: str


def take(database: Database, stick: Path, *, who: str, limits: BundleLimits = DEFAULT) -> list[Judged]:
    """Read every receipt of a stick and record those that hold.

    Raises:
        BundleFault: the stick has none.
    """
    return list(_judged(database, receipts.files_on(stick, limits=limits), who, limits))


def _judged(database: Database, paths: list[Path], who: str, limits: BundleLimits) -> Iterator[Judged]:
    for path in paths:
        try:
            read = receipts.read(receipts.bytes_of(path, limits=limits))
        except BundleFault as fault:
            yield Judged(file=path.name, word=JUNK, said=str(fault))
            continue
        yield Judged(file=path.name, word=_record(database, read, who), said=receipts.said(read.receipt))


def _record(database: Database, read: Read, who: str) -> str:
    receipt = read.receipt
    if not receipt.id:
        return UNSIGNED
    now = database.clock.now()
    with database.write() as tx:
        device = devices.find(tx, receipt.id)
        if device is None or device.state is not DeviceState.ENROLLED:
            return UNKNOWN
        if device.slot != receipt.slot or not read.signed_by(device.public_key.encode()):
            return FORGED
        newest = max((one.seq for one in receipt.records), default=0)
        if newest <= max((one.seq for one in telemetry.states_of(tx, device.id)), default=-1):
            return KNOWN
        telemetry.store(tx, [Batch(device=device.id, records=receipt.records)], at=now)
        after = receipts.said(receipt)
        audit.note(tx, at=now, who=who, act="receipt.taken", subject=device.slot, after=after)
    return RECORDED
