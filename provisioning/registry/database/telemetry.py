"""What devices report: the newest of each kind in `states`, what is kept of the past in `records`.

Promises: batches of many devices are one transaction; a record that came before changes nothing, in whatever
order records come; only devices that are enrolled at that moment are written for; a kind's records are kept
for as long as the closed schema says.
Never: keeps every heartbeat. Of the machine's records one a quarter of an hour stays, of a release's standing
each that differs from the one before; `states` has the newest of both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from appliance.health.codes import Kind
from appliance.health.kinds import KINDS
from appliance.health.schema import Record
from provisioning.registry.database.tables import devices, records, states
from provisioning.registry.database.words import DeviceState

MACHINE_EVERY_SECONDS: Final = 900
_THINNED = (Kind.MACHINE, Kind.STATE)
_DAY_SECONDS = 86_400
_NUMBER_DIGITS = 15
_INTO_STATES = """
    INSERT INTO states (device, kind, release, seq, at, received_at, numbers) {source}
    ON CONFLICT (device, kind, release) DO UPDATE SET
        seq = excluded.seq, at = excluded.at, received_at = excluded.received_at, numbers = excluded.numbers
    WHERE states.seq < excluded.seq
"""
_INTO_RECORDS = """
    INSERT INTO records (device, seq, kind, release, at, received_at, numbers) {source}
    ON CONFLICT (device, seq) DO NOTHING
"""
_STATE_COLUMNS = ("device", "kind", "release", "seq", "at", "received_at", "numbers")
_RECORD_COLUMNS = ("device", "seq", "kind", "release", "at", "received_at", "numbers")
_ARRAYS = {
    "kind": "smallint",
    "release": "bigint",
    "seq": "bigint",
    "at": "double precision",
    "received_at": "double precision",
    "numbers": "json",
}

# A row of `states` by its key: device, kind, release.
Key = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one device sent at once; `device` is its id."""

    device: str
    records: Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The newest record of a kind, for the release it speaks of; 0 where it speaks of none."""

    device: str
    kind: int
    release: int
    seq: int
    at: float
    received_at: float
    numbers: Mapping[str, Any]


def number(device_id: str) -> int:
    """Return the number by which `records` knows a device: the first 60 bits of its id."""
    return int(device_id[:_NUMBER_DIGITS], 16)


def store(tx: sa.Connection, batches: Sequence[Batch], *, at: float) -> dict[str, DeviceState]:
    """Write batches of devices; return what each device is. Those that are not enrolled are not written."""
    known = _locked(tx, {batch.device for batch in batches})
    taken = [batch for batch in batches if known.get(batch.device) is DeviceState.ENROLLED]
    if not taken:
        return known
    former = _former(tx, {batch.device for batch in taken})
    newest: dict[Key, dict[str, Any]] = {}
    kept: list[dict[str, Any]] = []
    for batch in taken:
        own = number(batch.device)
        for record in sorted(batch.records, key=lambda one: one.seq):
            row = _row(batch.device, record, at)
            if _is_kept(former.get(_key(row)), record, row["numbers"]):
                kept.append({**row, "device": own})
            # What is remembered for the next record must be the newest, or an old batch would hide a change.
            if _is_newer(former.get(_key(row)), record.seq):
                newest[_key(row)] = row
                former[_key(row)] = (record.seq, record.at, row["numbers"])
    _insert(tx, _INTO_STATES, _STATE_COLUMNS, [newest[key] for key in sorted(newest)], device="text")
    _insert(tx, _INTO_RECORDS, _RECORD_COLUMNS, kept, device="bigint")
    _about(tx, "UPDATE devices SET last_seen_at = :at WHERE id {among}", {b.device for b in taken}, at=at)
    return known


def keys(tx: sa.Connection, *, limit: int) -> dict[str, str]:
    """Return the public keys of enrolled devices by their ids."""
    here = devices.c.state == DeviceState.ENROLLED.value
    return {row.id: row.public_key for row in tx.execute(sa.select(devices).where(here).limit(limit))}


def states_of(tx: sa.Connection, device_id: str) -> list[Reported]:
    """Return what is newest of a device."""
    query = sa.select(states).where(states.c.device == device_id).order_by(states.c.kind, states.c.release)
    return [Reported(**row._mapping) for row in tx.execute(query)]


def standings(tx: sa.Connection, ids: Sequence[str]) -> dict[str, list[Reported]]:
    """Return how releases stand on some devices, by the devices' ids, those that serve first."""
    here = (states.c.kind == int(Kind.STATE)) & states.c.device.in_(list(ids))
    found: dict[str, list[Reported]] = {device: [] for device in ids}
    for row in tx.execute(sa.select(states).where(here).order_by(states.c.device, states.c.release)):
        found[row.device].append(Reported(**row._mapping))
    return {
        device: sorted(own, key=lambda one: not one.numbers.get("serving")) for device, own in found.items()
    }


def newest(tx: sa.Connection, kind: Kind, *, release: int | None = None) -> dict[str, Reported]:
    """Return what enrolled devices last said of a kind, by their ids; of one release if it is given."""
    query = (
        sa.select(states)
        .join(devices, devices.c.id == states.c.device)
        .where(states.c.kind == int(kind), devices.c.state == DeviceState.ENROLLED.value)
    )
    if release is not None:
        query = query.where(states.c.release == release)
    return {row.device: Reported(**row._mapping) for row in tx.execute(query.order_by(states.c.seq))}


def history(
    tx: sa.Connection, device_id: str, kind: Kind, *, since: float, limit: int
) -> list[tuple[float, Mapping[str, Any]]]:
    """Return what is kept of a device's records of a kind, newest first: time and numbers."""
    query = (
        sa.select(records.c.at, records.c.numbers)
        .where(records.c.device == number(device_id), records.c.kind == int(kind), records.c.at >= since)
        .order_by(records.c.seq.desc())
        .limit(limit)
    )
    return [(row.at, row.numbers) for row in tx.execute(query)]


def since(tx: sa.Connection, kind: Kind, release: int, *, at: float) -> list[tuple[int, Mapping[str, Any]]]:
    """Return every record of a kind about a release since a time: the device's `number`, and its numbers."""
    query = sa.select(records.c.device, records.c.numbers).where(
        records.c.kind == int(kind), records.c.release == release, records.c.at >= at
    )
    return [(row.device, row.numbers) for row in tx.execute(query)]


def age_out(tx: sa.Connection, *, at: float, limit: int) -> int:
    """Remove records that are older than their kind is kept for, at most so many; return how many."""
    removed = 0
    for kind, schema in KINDS.items():
        old = (records.c.kind == int(kind)) & (records.c.at < at - schema.keep_days * _DAY_SECONDS)
        some = (
            sa.select(records.c.device, records.c.seq)
            .where(old)
            .order_by(records.c.at)
            .limit(limit - removed)
        )
        pair = sa.tuple_(records.c.device, records.c.seq)
        removed += tx.execute(sa.delete(records).where(pair.in_(some))).rowcount
        if removed >= limit:
            break
    return removed


def count(tx: sa.Connection) -> int:
    """Return how many records are kept; it walks an index."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(records)).scalar_one())


def _locked(tx: sa.Connection, ids: Iterable[str]) -> dict[str, DeviceState]:
    """Read what devices are, and keep it so until the transaction ends; one order keeps deadlocks away."""
    lock = "" if tx.dialect.name == "sqlite" else "ORDER BY id FOR UPDATE"
    rows = _about(tx, f"SELECT id, state FROM devices WHERE id {{among}} {lock}", ids)
    return {device: DeviceState(state) for device, state in rows}


def _former(tx: sa.Connection, ids: Iterable[str]) -> dict[Key, tuple[int, float, str]]:
    """Return number, time and numbers of what was newest of devices: of their machine and their releases."""
    kinds = ", ".join(str(int(kind)) for kind in _THINNED)
    query = f"""
        SELECT device, kind, release, seq, at, CAST(numbers AS TEXT) FROM states
        WHERE device {{among}} AND kind IN ({kinds})
    """
    rows = _about(tx, query, ids)
    return {(device, kind, release): (seq, at, text) for device, kind, release, seq, at, text in rows}


def _about(tx: sa.Connection, statement: str, ids: Iterable[str], **values: Any) -> Iterable[Any]:
    """Run a statement about many devices. It is the same text for any number of them, and so is read once."""
    if tx.dialect.name == "sqlite":
        among, given = "IN (SELECT value FROM json_each(:ids))", json.dumps(sorted(ids))
        return tx.execute(_text(statement.format(among=among)), {"ids": given, **values})
    among = "= ANY(CAST(:ids AS text[]))"
    return tx.execute(_text(statement.format(among=among)), {"ids": sorted(ids), **values})


@lru_cache(maxsize=32)
def _text(statement: str) -> sa.TextClause:
    return sa.text(statement)


def _row(device: str, record: Record, at: float) -> dict[str, Any]:
    release = record.values.get("release", 0)
    return {
        "device": device,
        "kind": int(record.kind),
        "release": release if isinstance(release, int) else 0,
        "seq": record.seq,
        "at": float(record.at),
        "received_at": at,
        "numbers": json.dumps(record.values, separators=(",", ":")),
    }


def _key(row: Mapping[str, Any]) -> Key:
    return row["device"], row["kind"], row["release"]


def _is_newer(former: tuple[int, float, str] | None, seq: int) -> bool:
    return former is None or former[0] < seq


def _is_kept(former: tuple[int, float, str] | None, record: Record, numbers: str) -> bool:
    if former is None or record.kind not in _THINNED:
        return True
    if record.kind is Kind.MACHINE:
        return record.at // MACHINE_EVERY_SECONDS != former[1] // MACHINE_EVERY_SECONDS
    return former[2] != numbers


def _insert(
    tx: sa.Connection,
    statement: str,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    *,
    device: str,
) -> None:
    if not rows:
        return
    if tx.dialect.name == "sqlite":
        source = f"VALUES ({', '.join(f':{column}' for column in columns)})"
        tx.execute(_text(statement.format(source=source)), list(rows))
        return
    # One statement for all rows: a column each as an array.
    kinds = {"device": device, **_ARRAYS}
    arrays = ", ".join(f"CAST(:{column} AS {kinds[column]}[])" for column in columns)
    values = {column: [row[column] for row in rows] for column in columns}
    tx.execute(_text(statement.format(source=f"SELECT * FROM unnest({arrays})")), values)
