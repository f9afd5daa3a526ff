"""Every folder that the box writes into: a small file becomes durable there, and goes again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.disk.durable import DiskFault, NoSpace, remove_file, write_file
from provisioning.doctor.check import Check
from provisioning.doctor.checks.space import FULL
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

READ_ONLY = Fault(
    id="storage.read-only",
    cause="a folder that the box writes into is on a file system that is mounted read-only",
    fix="look why with `dmesg`: a disk that failed is often mounted again read-only; mount it for writing",
    who=Who.TECHNICIAN,
)
FORBIDDEN = Fault(
    id="storage.not-writable",
    cause="a folder that the box writes into does not let it",
    fix="give the folder to the user that the box runs as, mode 0700",
    who=Who.TECHNICIAN,
)
FAILING = Fault(
    id="storage.failing",
    cause="the disk fails when a file is written and synced",
    fix="look at `dmesg` and at the disk's health with smartctl; have the disk replaced",
    who=Who.TECHNICIAN,
)
FOLDERS = ("", "kept", "kept/incoming", "kept/segments", "results", "models", "engines", "audit", "run")
_TRIAL = ".readside-doctor"


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    there = [site.root / name for name in FOLDERS if (site.root / name).is_dir()]
    refused = [finding for folder in there if (finding := _tried(folder)) is not None]
    # One cause is one finding: a disk that is read-only is so in each of its folders.
    yield from {one.fault.id: one for one in reversed(refused) if one.fault is not None}.values()
    if not refused:
        yield sound(f"a file becomes durable in each of {len(there)} folders")


def _tried(folder: Path) -> Finding | None:
    """Try one folder; None when a file could be written, synced and removed."""
    trial = folder / f"{_TRIAL}.{os.getpid()}"
    try:
        write_file(trial, _TRIAL.encode())
        remove_file(trial)
    except NoSpace:
        return wrong(FULL, f"a small file in {folder} found no room")
    except (DiskFault, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        fault = {errno.EROFS: READ_ONLY, errno.EACCES: FORBIDDEN, errno.EPERM: FORBIDDEN}.get(
            number or 0, FAILING
        )
        return wrong(fault, f"{folder}: {os.strerror(number) if number else type(error).__name__}")
    return None


CHECK = Check(
    id="writable",
    about="the folders that the box writes into",
    look=_look,
    faults=(READ_ONLY, FORBIDDEN, FAILING, FULL),
    needs=("storage", "space"),
)
