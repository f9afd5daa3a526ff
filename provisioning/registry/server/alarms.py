"""Looks for what is absent: a silent device, certificates and lists that end soon; and for boxes' alarms.

Promises: an alert opens once and closes once, whatever process looks; planned silence is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import structlog

from appliance.core import log
from appliance.core.alarming import AlarmKind
from appliance.health.codes import Kind
from appliance.health.kinds import bit_of
from appliance.sync.release import DIRECTOR, IMAGE
from provisioning.registry.database import alerts, telemetry
from provisioning.registry.database.alerts import Numbers
from provisioning.registry.database.words import Alarm
from provisioning.registry.layout import Layout
from provisioning.registry.server.room import Room

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
BOX = "box."
_ROLES = ("root", "targets", "snapshot", "timestamp")


def look(room: Room) -> None:
    """Open and close alerts as things are now."""
    limits, now = room.limits, room.clock.now()
    ending = _ending_lists(room.setting.folder, before=now + limits.metadata_seconds)
    with room.database.read() as tx:
        silent = alerts.silent(tx, at=now, seconds=limits.silent_seconds)
        certificates = alerts.ending_certificates(tx, before=now + limits.certificate_seconds)
        boxes = _boxes(telemetry.newest(tx, Kind.MACHINE), silent)
    found: dict[str, Mapping[str, Numbers]] = {
        Alarm.DEVICE_SILENT: silent,
        Alarm.CERTIFICATE_ENDS: certificates,
        Alarm.METADATA_ENDS: ending,
        **boxes,
    }
    opened = closed = 0
    with room.database.write() as tx:
        for kind in {*found, *alerts.open_kinds(tx, BOX)}:
            more, fewer = alerts.settle(tx, kind, found.get(kind, {}), at=now)
            opened, closed = opened + more, closed + fewer
    if opened or closed:
        _log.warning("registry.alerts", opened=opened, closed=closed)


def _boxes(
    newest: Mapping[str, telemetry.Reported], silent: Mapping[str, Numbers]
) -> dict[str, dict[str, Numbers]]:
    """Return what boxes say of themselves; a silent one says nothing any more, and that is its alert."""
    found: dict[str, dict[str, Numbers]] = {}
    for device, said in newest.items():
        bits = said.numbers.get("alarms", 0)
        for alarm in AlarmKind if bits and device not in silent else ():
            if bits & bit_of(alarm):
                found.setdefault(f"{BOX}{alarm.name.lower()}", {})[device] = {"said_at": said.at}
    return found


def _ending_lists(folder: Path, *, before: float) -> dict[str, Numbers]:
    """Return the signed lists that end before a time, and when."""
    found: dict[str, Numbers] = {}
    for repository in (IMAGE, DIRECTOR):
        place = Layout(folder=folder).metadata(repository)
        for role in _ROLES:
            ends_at = _ends(_newest(place, role))
            if ends_at is not None and ends_at < before:
                found[f"{repository}.{role}"] = {"ends_at": ends_at}
    return found


def _newest(place: Path, role: str) -> Path | None:
    """Return the newest file of a role: `timestamp.json`, or the highest of `N.role.json`."""
    plain = place / f"{role}.json"
    numbered = [
        (int(number), path)
        for path in place.glob(f"*.{role}.json")
        if (number := path.name.partition(".")[0]).isdigit()
    ]
    return max(numbered)[1] if numbered else plain if plain.is_file() else None


def _ends(path: Path | None) -> float | None:
    if path is None:
        return None
    try:
        return datetime.fromisoformat(json.loads(path.read_bytes())["signed"]["expires"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None
