"""A batch of records, as it travels from a box to its registry: numbers, and nothing else.

JSON under gzip (RFC 8259, RFC 1952): `[format, [[seq, at, kind, {"field": number}], ...]]`. Both ends read
and write it here.

Promises: what `decode` returns was in the closed list of `kinds`, in range, and within the bounds of a batch.
Never: lets a text through as a value, or reads further than its bounds whatever the batch would unpack to.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.health.codes import Kind
from appliance.health.fields import Value, Whole, numbers
from appliance.health.kinds import KINDS
from appliance.health.limits import BATCH, BatchLimits

FORMAT: Final = 1
_SEQ = Whole(low=1, high=2**53)
_AT = Whole(high=2**32 - 1)


class SchemaFault(ValueError):
    """A batch, or a record of it, is not what may travel; the sentence names fields, never values."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record.

    Attributes:
        seq: its number on its box; the next one is higher, for ever.
        at: when it was made, whole epoch seconds.
        values: by the names in `KINDS[kind].fields`.
    """

    seq: int
    at: int
    kind: Kind
    values: Mapping[str, Value]


def encode(records: Sequence[Record], *, limits: BatchLimits = BATCH) -> bytes:
    """Write a batch; the same records give the same bytes.

    Raises:
        SchemaFault: a record is not one that may travel, or they are too many for one batch.
    """
    if len(records) > limits.records_max:
        raise SchemaFault(f"a batch holds at most {limits.records_max} records")
    rows = [_row(checked(record.seq, record.at, record.kind, record.values)) for record in records]
    plain = json.dumps([FORMAT, rows], separators=(",", ":"), allow_nan=False).encode("ascii")
    packed = gzip.compress(plain, mtime=0)
    if len(plain) > limits.plain_bytes_max or len(packed) > limits.batch_bytes_max:
        raise SchemaFault("a batch is larger than one may be: put fewer records into it")
    return packed


def decode(data: bytes, *, limits: BatchLimits = BATCH) -> list[Record]:
    """Read a batch.

    Raises:
        SchemaFault: it is too large, is not gzip or JSON, or holds anything that is not in the closed list.
    """
    try:
        said = _READER.decode(_unpacked(data, limits).decode())
    except SchemaFault:
        raise
    except (ValueError, RecursionError) as error:
        raise SchemaFault("a batch is not JSON") from error
    if not isinstance(said, list) or len(said) != 2 or type(said[0]) is not int or said[0] != FORMAT:
        raise SchemaFault("a batch is of a form that this version of Readside does not know")
    rows = said[1]
    if not isinstance(rows, list) or len(rows) > limits.records_max:
        raise SchemaFault(f"a batch is a list of at most {limits.records_max} records")
    return [_record(row) for row in rows]


def fit(kind: Kind, values: Mapping[str, Any]) -> tuple[dict[str, Value], int]:
    """Return those values that may travel, and how many may not: unknown, or out of range."""
    fields = KINDS[kind].fields
    kept: dict[str, Value] = {}
    for name, value in values.items():
        read = fields[name].type.read(value) if name in fields else None
        if read is not None:
            kept[name] = read
    return kept, len(values) - len(kept)


def checked(seq: Any, at: Any, kind: Any, values: Any) -> Record:
    """Return a record of these parts.

    Raises:
        SchemaFault: one of them may not travel.
    """
    if _SEQ.read(seq) is None or _AT.read(at) is None:
        raise SchemaFault("a record's number or time is out of range")
    if type(kind) not in (int, Kind) or kind not in numbers(Kind):
        raise SchemaFault("a record is of no kind that this version of Readside knows")
    if not isinstance(values, Mapping):
        raise SchemaFault("a record's values are no table")
    return Record(seq=seq, at=at, kind=Kind(kind), values=_values(Kind(kind), values))


def _values(kind: Kind, values: Mapping[Any, Any]) -> dict[str, Value]:
    fields, read = KINDS[kind].fields, {}
    for name, value in values.items():
        if name not in fields:
            # The name came from outside: it is not repeated.
            raise SchemaFault(f"a record of kind {kind.name} holds a field that is not in the list")
        taken = fields[name].type.read(value)
        if taken is None:
            raise SchemaFault(f"{kind.name}.{name} is not a {fields[name].type.words}")
        read[name] = taken
    if lacking := [name for name, field in fields.items() if field.needed and name not in read]:
        raise SchemaFault(f"a record of kind {kind.name} lacks {', '.join(lacking)}")
    return read


def _row(record: Record) -> list[Any]:
    return [record.seq, record.at, int(record.kind), dict(record.values)]


def _record(row: Any) -> Record:
    if not isinstance(row, list) or len(row) != 4:
        raise SchemaFault("a record has another form")
    return checked(*row)


def _unpacked(data: bytes, limits: BatchLimits) -> bytes:
    """Unpack one gzip member, and never more than a batch may be."""
    if len(data) > limits.batch_bytes_max:
        raise SchemaFault(f"a batch has at most {limits.batch_bytes_max} bytes")
    reading = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = reading.decompress(data, limits.plain_bytes_max + 1)
    except zlib.error as error:
        raise SchemaFault("a batch is not gzip") from error
    if len(plain) > limits.plain_bytes_max:
        raise SchemaFault(f"a batch unpacks to at most {limits.plain_bytes_max} bytes")
    if not reading.eof or reading.unused_data:
        raise SchemaFault("a batch ends before its end, or goes on after it")
    return plain


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise SchemaFault("a record names a field twice")
    return read


def _no_constant(_: str) -> Any:
    raise SchemaFault("a batch holds a number that is none")


# Made once: to make it costs as much as to read a small batch.
_READER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
