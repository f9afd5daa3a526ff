"""Free space: above the floor at which receiving stops, and room for more files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from appliance.disk.space import free_bytes
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

FULL = Fault(
    id="space.full",
    cause="the disk is full, or below the floor at which the box takes no more images",
    fix="make room on the disk, give it a larger one, or lower `retain_days`; the box goes on by itself",
    who=Who.TECHNICIAN,
)
FILES = Fault(
    id="space.no-more-files",
    cause="the file system cannot take more files, whatever room it has",
    fix="remove what else lies on it, or make it anew with more inodes",
    who=Who.TECHNICIAN,
)
TIGHT = Fault(
    id="space.tight",
    cause="the disk is not far from the floor at which the box takes no more images",
    fix="make room soon; a CT study is some 0.3 GiB",
    who=Who.TECHNICIAN,
    grave=False,
)
_FILES_MIN = 1_000


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    free, floor = free_bytes(site.root), site.config.storage.floor_bytes
    files = os.statvfs(site.root)
    text = f"{_gib(free)} GiB are free; receiving stops at {_gib(floor)} GiB"
    if free <= floor:
        yield wrong(FULL, text, free_bytes=free, floor_bytes=floor)
    # A file system that makes inodes as it needs them says that it has none at all.
    elif files.f_files and files.f_favail < _FILES_MIN:
        yield wrong(FILES, f"room for {files.f_favail} files is left", files=files.f_favail)
    elif free < 2 * floor:
        yield wrong(TIGHT, text, free_bytes=free, floor_bytes=floor)
    else:
        yield sound(text, free_bytes=free, floor_bytes=floor)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f}"


CHECK = Check(id="space", about="free space", look=_look, faults=(FULL, FILES, TIGHT), needs=("storage",))
