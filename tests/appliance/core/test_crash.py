"""The named places where a process can be killed do nothing unless one is named."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core import crash
from appliance.core.crash import VARIABLE, crash_here

ROOT = Path(__file__).resolve().parents[3]
ARMED = "from appliance.core import crash\ncrash.arm('here:2')\n"

PASSES = "from appliance.core.crash import crash_here\nfor _ in range(3): crash_here('here'); print('passed')"


def passed(named: str, before: str = "") -> tuple[int, int]:
    """Run a program that passes by three times; return its exit status and how often it got through."""
    done = subprocess.run(
        [sys.executable, "-uc", before + PASSES],
        env={VARIABLE: named} if named else {},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.count("passed")


@pytest.mark.parametrize(
    ("named", "times"), [("here", 0), ("here:1", 0), ("here:3", 2)], ids=["at once", "the first", "the third"]
)
def test_a_process_dies_where_it_is_told_to(named, times):
    assert passed(named) == (-signal.SIGKILL, times)


@pytest.mark.parametrize("named", ["", "there", "here:4"])
def test_elsewhere_it_goes_on(named):
    assert passed(named) == (0, 3)


def test_here_nothing_happens():
    crash_here("kept-record")


def test_a_process_that_has_it_loaded_can_be_told_later():
    assert passed("here:3", ARMED) == (-signal.SIGKILL, 1)


def test_the_places_in_the_sources_are_those_that_are_listed():
    found = {
        name
        for path in (ROOT / "appliance").rglob("*.py")
        for name in re.findall(r'crash_here\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    tables = [table for name, table in vars(crash).items() if name.endswith("POINTS")]
    listed = [names for table in tables for names in table.values()]
    assert found == {name for names in listed for name in names}
