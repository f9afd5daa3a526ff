"""What a box is, without its keys: configuration, roots and floors, under the site's recovery passphrase.

Promises: what is restored was sealed whole by who had the passphrase; a configuration that is there is not
written over unless that is asked for.
Never: holds a private key or a certificate: new hardware makes its own and takes the slot with an invitation.
Patient data, results and the ledger are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.clock import as_text
from appliance.core.config import Config, ConfigError, load
from appliance.disk.durable import make_folder, remove_file, write_file
from appliance.sync.renewal import AUTHORITIES_FILE
from appliance.sync.standing import registry_folder
from provisioning.identity.sealed import SealFault, seal, unseal
from provisioning.registry.promote import FLOORS, ROOTS

_FORM: Final = 1
_CONFIGURATION: Final = "site.toml"
_FILES: Final = (*ROOTS.values(), FLOORS, AUTHORITIES_FILE)
_BYTES_MAX: Final = 10_000_000


class BackupFault(Exception):
    """Nothing was backed up or restored; the sentence says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was put in place: of which slot, from when, and which files."""

    slot: str
    made_at: str
    files: tuple[str, ...]


def backup(path: Path, config: Config, passphrase: str, *, now: float) -> bytes:
    """Return the sealed backup of the box whose configuration is the file `path`.

    Raises:
        BackupFault: a file cannot be read, or the passphrase is too short.
    """
    try:
        files = {_CONFIGURATION: path.read_text(encoding="utf-8")}
        for name in _FILES:
            place = config.registry.roots / name
            # The box's own floors are the higher ones; those of the claim count where it has none.
            own = registry_folder(config.storage.root) / name
            if name == FLOORS and own.exists():
                place = own
            if place.exists():
                files[name] = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackupFault(f"a file of this box cannot be read ({type(error).__name__})") from error
    said = {"form": _FORM, "slot": config.registry.device or "", "made_at": as_text(now), "files": files}
    try:
        return seal(json.dumps(said).encode(), passphrase)
    except SealFault as fault:
        raise BackupFault(str(fault)) from fault


def restore(data: bytes, passphrase: str, path: Path, *, over: bool = False) -> Restored:
    """Put a backup in place: the configuration as the file `path`, the rest where that says.

    Raises:
        BackupFault: it cannot be opened, is not whole, or would write over what is there.
        NoSpace, DiskFault: the disk is full or failed.
    """
    said = _opened(data, passphrase)
    files: Mapping[str, str] = said["files"]
    if path.exists() and not over:
        raise BackupFault(f"{path}: is there already; --over writes over it")
    beside = path.with_name(f".{path.name}.restoring")
    make_folder(path.parent)
    write_file(beside, files[_CONFIGURATION].encode())
    try:
        roots = load(beside).registry.roots
    except ConfigError as error:
        raise BackupFault(
            f"the configuration in it does not fit this version: {'; '.join(error.faults)[:500]}"
        ) from error
    finally:
        remove_file(beside)
    for name in _FILES:
        if name in files:
            make_folder(roots)
            write_file(roots / name, files[name].encode())
    write_file(path, files[_CONFIGURATION].encode())
    return Restored(slot=said["slot"], made_at=said["made_at"], files=tuple(sorted(files)))


def read_backup(path: Path) -> bytes:
    """Read a backup.

    Raises:
        BackupFault: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise BackupFault(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise BackupFault(f"{path}: is longer than {_BYTES_MAX} bytes: no backup")
    return data


def _opened(data: bytes, passphrase: str) -> dict[str, Any]:
    try:
        said = json.loads(unseal(data, passphrase))
    except SealFault as fault:
        raise BackupFault(str(fault)) from fault
    except ValueError as error:
        raise BackupFault("the backup holds what cannot be read") from error
    known = isinstance(said, dict) and said.get("form") == _FORM
    if (
        not known
        or not set(said["files"]) <= {_CONFIGURATION, *_FILES}
        or _CONFIGURATION not in said["files"]
    ):
        raise BackupFault("the backup is of a newer form")
    return dict(said)
