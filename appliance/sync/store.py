"""The installed packages on disk: one folder for each digest, whole or not there.

Promises: a folder under its digest holds exactly the bytes of that package; one command at a time works here;
what a command that died left behind is gone before the next one begins.
Never: removes a package that the ledger says is on the box.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.core.packages import installed_folder, models_folder, open_installed
from appliance.disk.durable import make_folder
from appliance.disk.folder import keep_folder, remove_folder
from appliance.inference.lock import locked
from appliance.sync.limits import DEFAULT, SyncLimits
from models.package import Package

_LOCK = "store.lock"
_HEX = re.compile(r"[0-9a-f]{64}")


class Busy(Exception):
    """Another command works on this box's models."""


@dataclass(frozen=True, kw_only=True)
class ModelStore:
    """The folder of installed packages of one box; `root` is the box's storage root."""

    root: Path
    limits: SyncLimits = DEFAULT

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other command away while the block runs.

        Raises:
            Busy: another one does not end.
        """
        path = make_folder(models_folder(self.root)) / _LOCK
        try:
            with locked(path, seconds_max=self.limits.command_wait_seconds_max):
                yield
        except TimeoutError as error:
            raise Busy(
                "another command works on the models of this box; try again when it is done"
            ) from error

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give an empty folder beside the installed ones; what is left in it at the end goes."""
        folder = models_folder(self.root) / f".incoming.{os.getpid()}"
        make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, filled: Path, digest: str) -> Package:
        """Put a package under its digest, durably, and read it back whole.

        Raises:
            PackageError: what lies there now is not what was meant to.
            DiskFault: the disk failed.
        """
        keep_folder(filled, installed_folder(self.root, digest))
        return open_installed(self.root, digest)

    def drop(self, digest: str) -> None:
        """Remove the files of a package.

        Raises:
            DiskFault: the disk failed.
        """
        remove_folder(installed_folder(self.root, digest))

    def sweep(self, kept: Set[str]) -> int:
        """Remove what no row speaks of; `kept` are the digests that stay. Return how many folders went.

        Call it in `locked`: then nothing here is anybody's work in progress.
        """
        left = [path for path in models_folder(self.root).iterdir() if path.is_dir() and _is_left(path, kept)]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left)


def _is_left(path: Path, kept: Set[str]) -> bool:
    if _HEX.fullmatch(path.name):
        return f"sha256:{path.name}" not in kept
    return path.name.startswith(".incoming.") or path.name.endswith(".gone")
