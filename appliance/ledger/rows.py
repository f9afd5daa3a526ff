"""Small pieces that the verbs share: inserting unless there, and rows as values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from appliance.core.instance import Instance, Location
from appliance.ledger.engine import Tx

# A statement may hold 32,766 values in SQLite; a large study has more instances.
_UIDS_AT_ONCE = 1_000


def insert_unless_there(tx: Tx, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique key of it exists; say whether it was inserted."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    # A row comes back only if one went in; the drivers do not agree on the row count of an INSERT.
    statement = dialect.insert(table).values(**values).on_conflict_do_nothing().returning(sa.literal(1))
    return tx.execute(statement).first() is not None


def not_found(tx: Tx, sop_instance_uids: Collection[str], *queries: sa.Select[tuple[str]]) -> set[str]:
    """Return those UIDs that none of the queries, each of one column of SOP Instance UIDs, has a row for."""
    wanted = sorted(set(sop_instance_uids))
    lacking = set(wanted)
    for start in range(0, len(wanted), _UIDS_AT_ONCE):
        part = wanted[start : start + _UIDS_AT_ONCE]
        for query in queries:
            (column,) = query.selected_columns
            lacking.difference_update(tx.execute(query.where(column.in_(part))).scalars())
    return lacking


def as_instance(row: Any) -> Instance:
    """Turn a row of `instances` into a value."""
    return Instance(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        study_uid=row.study_uid,
        series_uid=row.series_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        location=Location(file=row.file, offset=row.offset, length=row.length),
        digest=row.digest,
        pixel_offset=row.pixel_offset,
        pixel_bytes=row.pixel_bytes,
        facts=row.facts,
    )


def instance_values(instance: Instance) -> dict[str, Any]:
    """Turn a value into the columns of `instances` that it fills."""
    return {
        "study_uid": instance.study_uid,
        "series_uid": instance.series_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "digest": instance.digest,
        "file": instance.location.file,
        "offset": instance.location.offset,
        "length": instance.location.length,
        "pixel_offset": instance.pixel_offset,
        "pixel_bytes": instance.pixel_bytes,
        "facts": dict(instance.facts),
    }
