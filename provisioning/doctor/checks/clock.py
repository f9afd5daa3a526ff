"""The clock, against a time server or the registry, and against the box's own files; and its zone.

A Date header is not proven: it is asked for before certificates are judged, since they are judged by the
clock. It can make the doctor suspect the clock and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.core.clock import SYSTEM, as_text
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.site import Site
from provisioning.doctor.timesource import offset_of

BATTERY = Fault(
    id="clock.battery",
    cause="the clock says a year before this version was written",
    fix="set the clock, let chrony or systemd-timesyncd keep it, and have the machine's battery looked at",
    who=Who.TECHNICIAN,
)
OFF = Fault(
    id="clock.off",
    cause="the clock is wrong",
    fix="let chrony or systemd-timesyncd keep it by the hospital's time server; results carry this time",
    who=Who.TECHNICIAN,
)
DRIFT = Fault(
    id="clock.drift",
    cause="the clock is a little off, and nobody seems to keep it",
    fix="let chrony or systemd-timesyncd keep it by the hospital's time server",
    who=Who.TECHNICIAN,
    grave=False,
)
BACK = Fault(
    id="clock.behind-files",
    cause="files of the box are from the future: the clock went back",
    fix="find out which time is right; let chrony or systemd-timesyncd keep it",
    who=Who.TECHNICIAN,
)
# This version cannot run in a year before it was written.
_EPOCH_MIN = 1_767_225_600.0  # 2026-01-01


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    now = SYSTEM.now()
    said = f"says {as_text(now)}, zone {time.strftime('%Z (UTC%z)')}"
    if now < _EPOCH_MIN:
        yield wrong(BATTERY, said)
        return
    newest = 0.0 if site.read is None else _newest(site.root)
    source = offset_of(site)
    if source is not None and abs(source.seconds) > site.limits.clock_off_seconds_max:
        yield wrong(OFF, f"{said}, {_way(source.seconds)} by {source.name}", offset_seconds=source.seconds)
    elif newest > now + site.limits.file_ahead_seconds_max:
        yield wrong(BACK, f"{said}, and a file of the box is from {as_text(newest)}")
    elif source is None:
        yield unknown(f"{said}; nobody was there to compare it with: name a time server with --ntp")
    elif abs(source.seconds) > site.limits.clock_drift_seconds_max:
        yield wrong(DRIFT, f"{said}, {_way(source.seconds)} by {source.name}", offset_seconds=source.seconds)
    else:
        yield sound(f"{said}, right by {source.name}", offset_seconds=round(source.seconds, 3))


def _way(offset_seconds: float) -> str:
    """Say which way the clock is off; the source's time less ours."""
    size = abs(offset_seconds)
    return f"{size:.0f} s {'behind' if offset_seconds > 0 else 'ahead'}"


def _newest(root: Path) -> float:
    """Give the time of the newest file directly under the storage root."""
    try:
        return max((entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(root)), default=0.0)
    except OSError:
        return 0.0


CHECK = Check(
    id="clock",
    about="the clock",
    look=_look,
    faults=(BATTERY, OFF, DRIFT, BACK),
    of_site=False,
    seconds_max=40.0,
)
