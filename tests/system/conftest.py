"""The parts of a whole system: boxes and a stand-in PACS, on loopback, and stopped at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from appliance.demo.box import Box
from tests.system.boxes import Pacs, make_box, pacs_in, running

StartBox: TypeAlias = Callable[..., Box]


@pytest.fixture
def at_end() -> Iterator[ExitStack]:
    """Take apart in reverse order what a test put together."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_box(tmp_path: Path, at_end: ExitStack) -> StartBox:
    """Start a box that sends to a PACS on a port; the rest of its shape is up to the test."""

    def start(pacs_port: int, **shape: Any) -> Box:
        return at_end.enter_context(running(make_box(tmp_path / "site", pacs_port=pacs_port, **shape)))

    return start


@pytest.fixture
def pacs(tmp_path: Path, at_end: ExitStack) -> Pacs:
    """A stand-in PACS that listens."""
    stand_in = pacs_in(tmp_path / "pacs")
    stand_in.start()
    at_end.callback(stand_in.stop)
    return stand_in
