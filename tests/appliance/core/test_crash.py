"""The named places where a process can be killed do nothing unless one is named."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from appliance.core.crash import VARIABLE, crash_here

PASSES = "from appliance.core.crash import crash_here\nfor _ in range(3): crash_here('here'); print('passed')"


def passed(named: str) -> tuple[int, int]:
    """Run a program that passes by three times; return its exit status and how often it got through."""
    done = subprocess.run(
        [sys.executable, "-uc", PASSES],
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
