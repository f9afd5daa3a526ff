"""Programs of other people that judge us: where they are, and what their absence means."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

_SECONDS_MAX = 120


def need(name: str) -> str:
    """Return the path of a program; without it the test is skipped, and under CI it fails."""
    # Debian keeps daemons where the PATH of an ordinary user does not look.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed; in CI it must be")
    pytest.skip(f"{name} is not installed")


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said."""
    command = [need(name), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_SECONDS_MAX, check=False
    )
