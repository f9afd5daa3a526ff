"""Parts of DCMTK that the worker's tests use where they are installed."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def dcmcjpeg() -> str:
    """DCMTK's JPEG encoder; skipped without it."""
    found = shutil.which("dcmcjpeg")
    if found is None:
        pytest.skip("dcmcjpeg (DCMTK) is not installed")
    return found
