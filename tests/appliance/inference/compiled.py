"""C that stands in for NVIDIA's libraries, compiled by the test that needs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def shared_library(folder: Path, name: str, source: str) -> Path:
    """Compile a shared library under the name others look for it by; skipped where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{name}.c"
    written.write_text(source, encoding="utf-8")
    options = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(folder / name), str(written)]
    subprocess.run([compiler, *options], check=True, timeout=60, capture_output=True)
    return folder / name
