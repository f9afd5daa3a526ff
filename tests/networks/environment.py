"""An environment of its own for PyTorch and MONAI, made once beside the checkout.

The box never imports either; a test starts a child in this environment and reads the files it leaves.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

import pytest

from tests.alone import alone_in

_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "networks"
_LIST = Path(__file__).with_name("requirements.txt")
_INSTALL_SECONDS, _CHILD_SECONDS = 900, 300
_OPTIONS = ("--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--retries", "1")


@cache
def python() -> Path:
    """The environment's interpreter; the test is skipped, with the reason, where it cannot be made."""
    folder = _FOLDER / hashlib.sha256(_LIST.read_bytes() + sys.version.encode()).hexdigest()[:12]
    interpreter = folder / "bin" / "python"
    with alone_in(_FOLDER):
        if not (folder / "ready").is_file():
            _make(folder, interpreter)
    return interpreter


def _make(folder: Path, interpreter: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", *_OPTIONS]
    try:
        done = subprocess.run(
            [*command, "-r", str(_LIST)],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"PyTorch and MONAI were not installed within {_INSTALL_SECONDS} seconds")
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip said nothing"]
        pytest.skip(f"PyTorch and MONAI are not to be had: {said[-1][:300]}")
    (folder / "ready").touch()


def child(script: Path, *arguments: str) -> str:
    """Run a script in the environment, and give what it printed."""
    done = subprocess.run(
        [str(python()), "-W", "ignore", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=_CHILD_SECONDS,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(_FOLDER), "OMP_NUM_THREADS": "2", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
