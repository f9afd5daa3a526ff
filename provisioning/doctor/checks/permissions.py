"""Owners and rights: of the storage root and what lies in it, and of every private key.

The root is the lock on all that lies below it; each key has one of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.audit.checkpoint import folder_of
from appliance.core.config import Config
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

OPEN = Fault(
    id="permissions.open",
    cause="other users of this machine can look into the storage root, where patients' images lie",
    fix="take the rights away: `chmod 700` on the folder",
    who=Who.TECHNICIAN,
)
OWNER = Fault(
    id="permissions.owner",
    cause="something in the storage root belongs to another user than the root itself",
    fix="give it back with `chown -R`; a command was probably run as root",
    who=Who.TECHNICIAN,
)
KEY = Fault(
    id="permissions.key",
    cause="other users of this machine can read or change a private key",
    fix="`chmod 600` on the file, and have a new key made if somebody may have read it",
    who=Who.TECHNICIAN,
)
_OTHERS = stat.S_IRWXO | stat.S_IWGRP
_AT_MOST_SHOWN = 3


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    root = site.root.stat()
    sound_so_far = True
    if root.st_mode & _OTHERS:
        sound_so_far = False
        yield wrong(OPEN, f"{site.root} has mode {stat.S_IMODE(root.st_mode):04o}")
    strange = list(_strange(site, root.st_uid))
    if strange:
        sound_so_far = False
        shown = ", ".join(path.relative_to(site.root).as_posix() for path in strange[:_AT_MOST_SHOWN])
        yield wrong(OWNER, f"{len(strange)} entries belong to others: {shown}", entries=len(strange))
    for key in _keys(site.config):
        mode = _mode(key)
        if mode is not None and mode & _OTHERS:
            sound_so_far = False
            yield wrong(KEY, f"{key} has mode {mode:04o}")
    if sound_so_far:
        yield sound("the storage root and the keys are closed to others and have one owner")


def _strange(site: Site, owner: int) -> Iterator[Path]:
    """Yield what belongs to another than the owner: two levels deep, and never more than so many."""
    left = site.limits.entries_looked_at_max
    folders = [site.root]
    for folder in folders:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries[:left]:
            left -= 1
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_uid != owner:
                yield Path(entry.path)
            elif stat.S_ISDIR(found.st_mode) and folder == site.root:
                folders.append(Path(entry.path))


def _keys(config: Config) -> list[Path]:
    """Return every file with a secret that the configuration leads to."""
    found = [folder_of(config.storage.root) / "key.pem", config.registry.roots / "device.key"]
    tables = (config.dicom.tls, config.dicomweb.tls)
    found += [table.key for table in tables if table is not None]
    found += [path for path in (config.audit.key,) if path is not None]
    found += [peer.dicomweb_token for peer in config.peers if peer.dicomweb_token is not None]
    found += [file for peer in config.peers for _, _, file in peer.passcodes]
    return found


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


CHECK = Check(
    id="permissions",
    about="owners and rights of folders and keys",
    look=_look,
    faults=(OPEN, OWNER, KEY),
    needs=("storage",),
)
