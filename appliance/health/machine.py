"""The machine under the box, as the kernel tells it: memory, load, disk, heat, how long it is up.

Promises: what cannot be read is left out, not guessed.
Never: reads a name: of the host, of a disk, of a person.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_PROC, _SYS = Path("/proc"), Path("/sys")
_MIB: Final = 2**20
_KIB_LINE: Final = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)
_SENSORS_MAX: Final = 256


def machine_values(root: Path, *, proc: Path = _PROC, sys: Path = _SYS) -> dict[str, int | float]:
    """Return what is known of the machine that `root`, a folder of the data disk, lies on."""
    return _memory(proc) | _load(proc) | _up(proc) | _disk(root) | _heat(sys)


def _memory(proc: Path) -> dict[str, int | float]:
    found = dict(_KIB_LINE.findall(_read(proc / "meminfo")))
    names = {"MemTotal": "memory_total", "MemAvailable": "memory_free"}
    return {names[name]: int(kib) * 1024 // _MIB for name, kib in found.items()}


def _load(proc: Path) -> dict[str, int | float]:
    load = _number(_read(proc / "loadavg").partition(" ")[0])
    return {} if load is None else {"load": load}


def _up(proc: Path) -> dict[str, int | float]:
    seconds = _number(_read(proc / "uptime").partition(" ")[0])
    return {} if seconds is None else {"up": int(seconds // 3600)}


def _disk(root: Path) -> dict[str, int | float]:
    try:
        disk = os.statvfs(root)
    except OSError:
        return {}
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    percent = {"disk_free_percent": round(100 * free / whole, 1)} if whole else {}
    return {"disk_free": free // _MIB, **percent}


def _heat(sys: Path) -> dict[str, int | float]:
    """Return the hottest sensor, in degrees Celsius; the kernel gives thousandths."""
    places = [*sys.glob("class/thermal/thermal_zone*/temp"), *sys.glob("class/hwmon/hwmon*/temp*_input")]
    read = [_number(_read(place)) for place in places[:_SENSORS_MAX]]
    # A sensor that is not connected says 0, or something far from any machine.
    degrees = [value / 1000 for value in read if value is not None and 0 < value / 1000 < 150]
    return {"temperature": round(max(degrees), 1)} if degrees else {}


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(65_536)
    except OSError:
        return ""


def _number(text: str) -> float | None:
    try:
        return float(text.strip())
    except ValueError:
        return None
