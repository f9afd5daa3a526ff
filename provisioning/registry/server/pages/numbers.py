"""The last numbers of a device as people read them: each with its purpose and unit, codes by their names."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from appliance.console import text
from appliance.health.codes import Kind
from appliance.health.fields import FEW, FEW_BELOW, Choice, Count, Flag, Tally, Type
from appliance.health.kinds import KINDS
from provisioning.registry.database.telemetry import Reported

SHOWN = (Kind.MACHINE, Kind.WORK)
# What stands elsewhere on the page: the release in the heading, alarms as alerts.
_ELSEWHERE = frozenset({"release", "alarms"})
_HOUR_SECONDS = 3_600
_THOUSAND = 1_000


def lines(one: Reported) -> Iterator[tuple[str, str]]:
    """Give purpose and value of each number that a record holds; histograms are for programs."""
    for name, field in KINDS[Kind(one.kind)].fields.items():
        value = one.numbers.get(name)
        if value is None or name in _ELSEWHERE:
            continue
        if name == "hour":
            yield "which hour", text.moment(value * _HOUR_SECONDS)
        elif name == "version":
            yield field.purpose.partition(":")[0], _version(value)
        elif said := _said(field.type, value):
            yield field.purpose, f"{said} {field.unit}".strip()


def _said(kind: Type, value: Any) -> str:
    if isinstance(kind, Tally):
        return _tally(kind, value)
    if isinstance(value, list):
        return ""
    if isinstance(kind, Choice):
        return _name(kind.of, value)
    if isinstance(kind, Flag):
        return "yes" if value else "no"
    return _count(value) if isinstance(kind, Count) else text.number(value)


def _tally(kind: Tally, cells: list[int]) -> str:
    """Say the cells that are not 0, by the names of their members."""
    named = zip(kind.of, cells, strict=False)
    return ", ".join(f"{_name(kind.of, one)}: {_count(count)}" for one, count in named if count) or "0"


def _count(value: int) -> str:
    return f"1 to {FEW_BELOW - 1}" if value == FEW else text.number(value)


def _name(of: type[IntEnum], value: int) -> str:
    try:
        return of(value).name.lower().replace("_", " ")
    except ValueError:
        return str(value)


def _version(value: int) -> str:
    """Write 1002003 as 1.2.3."""
    rest, patch = divmod(value, _THOUSAND)
    return f"{rest // _THOUSAND}.{rest % _THOUSAND}.{patch}"
