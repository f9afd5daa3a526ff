"""The viewer and the browser's driver, from npm: which, where they lie, and how they get there.

`python tests/viewers/packages.py` fetches what is missing, with npm as this machine has it set up.
Promises: a package is used only when its bytes are those that packages.json names, and is there whole or not
at all. Never: runs a script of a package, or installs what a package depends on; both carry all they need.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "viewers"
_SECONDS_MAX = 300
_GIVE_UP_SOON = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")
_QUIET = ("--ignore-scripts", "--no-update-notifier", "--loglevel=error")


class NotFetched(Exception):
    """A package is not to be had; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package, named by its bytes."""

    name: str
    version: str
    integrity: str

    @property
    def folder(self) -> Path:
        """Return where it lies, unpacked, once it is fetched."""
        return _FOLDER / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}"

    @property
    def here(self) -> bool:
        """Say whether it is there: a folder gets its name only when it is whole."""
        return self.folder.is_dir()


def _named() -> dict[str, Package]:
    rows = json.loads(Path(__file__).with_name("packages.json").read_text(encoding="utf-8"))
    return {row["name"]: Package(**row) for row in rows}


PACKAGES = _named()
OHIF = PACKAGES["@ohif/app"]
PLAYWRIGHT = PACKAGES["playwright-core"]


def fetch(package: Package) -> None:
    """Fetch and unpack one package.

    Raises:
        NotFetched: there is no npm, npm did not get it, or its bytes are others than expected.
    """
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        folder = Path(name)
        archive = _packed(package, folder)
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package.integrity:
            raise NotFetched(f"{package.name} {package.version} has other bytes than expected: {found}")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "whole", filter="data")
        (folder / "whole" / "package").rename(package.folder)


def _packed(package: Package, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not installed")
    wanted = f"{package.name}@{package.version}"
    command = [npm, "pack", *_QUIET, *_GIVE_UP_SOON, "--pack-destination", str(folder), wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"npm did not get {wanted} within {_SECONDS_MAX} s") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NotFetched(f"npm did not get {wanted}; it said: {said[0]}")
    return archives[0]


def main() -> int:
    """Fetch what is missing; say what cannot be had."""
    try:
        for package in PACKAGES.values():
            if not package.here:
                fetch(package)
    except NotFetched as error:
        print(f"readside: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
