"""C that stands in for NVIDIA's libraries, compiled once for each run of the tests that need it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

_PLACE = tempfile.TemporaryDirectory(prefix="readside-compiled-")


@cache
def shared_library(name: str, source: str) -> Path:
    """Compile a shared library under the name others look for it by, and give the folder it lies in.

    The test is skipped where there is no compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    folder = Path(tempfile.mkdtemp(dir=_PLACE.name))
    written = folder / f"{name}.c"
    written.write_text(source, encoding="utf-8")
    options = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(folder / name), str(written)]
    subprocess.run([compiler, *options], check=True, timeout=60, capture_output=True)
    return folder
