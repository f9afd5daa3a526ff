"""Packages of other versions or other Pythons that tests look into, unpacked beside the environment.

They are never installed: several versions of one library lie side by side, and none can change what the box
itself imports. Promises: a package is used only when its bytes are those wheels.txt names.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

from tests.alone import alone_in

_FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "wheels"
_LIST = Path(__file__).with_name("wheels.txt")
_SECONDS_MAX = 300
_OPTIONS = ("--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--retries", "1")


class NotFetched(Exception):
    """A package is not to be had; the text says why."""


@cache
def unpacked(requirement: str) -> Path:
    """Return the folder of an unpacked wheel, `requirement` being "name==version" as in wheels.txt.

    The test is skipped, with the reason, where the package cannot be had.
    """
    try:
        return _unpacked(requirement)
    except NotFetched as error:
        pytest.skip(f"{requirement}: {error}")


def _unpacked(requirement: str) -> Path:
    folder = _FOLDER / requirement.replace("==", "-")
    with alone_in(_FOLDER):
        if not folder.is_dir():
            _unpack(requirement, folder)
    return folder


def _unpack(requirement: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        whole = Path(name) / "whole"
        with zipfile.ZipFile(_wheel(requirement, Path(name))) as opened:
            for member in opened.infolist():
                path = Path(opened.extract(member, whole))
                if mode := (member.external_attr >> 16) & 0o777:
                    path.chmod(mode)
        whole.rename(folder)


def _wheel(requirement: str, folder: Path) -> Path:
    lines = [line for line in _LIST.read_text(encoding="utf-8").splitlines() if line.startswith(requirement)]
    if len(lines) != 1:
        raise NotFetched("wheels.txt does not name it once")
    wanted = folder / "wanted.txt"
    wanted.write_text(lines[0] + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *_OPTIONS]
    command += ["-r", str(wanted), "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"not downloaded within {_SECONDS_MAX} seconds") from error
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        raise NotFetched((done.stderr.strip().splitlines() or ["pip said nothing"])[-1][:300])
    return found[0]
