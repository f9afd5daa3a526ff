"""A crash is a mark that says "at work" and that nobody holds; two of them, and the engine is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.quarantine import Quarantine

KEY, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32

ELSEWHERE = b'w{"key": "sha256:../../other", "engine": "e", "model": "m", "boot": ""}'

DIES = """
import os, signal, sys
from pathlib import Path
from appliance.inference.limits import InferenceLimits
from appliance.inference.quarantine import Quarantine
quarantine = Quarantine(root=Path(sys.argv[1]), limits=InferenceLimits())
hosted = sys.argv[3] == "hosted"
mark = quarantine.mark(sys.argv[2], engine="e", model="m", hosted=hosted)
if sys.argv[3] == "idle":
    mark.idle()
elif sys.argv[3] == "removed":
    mark.remove()
print("marked", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def quarantine(tmp_path: Path, clock: HeldClock) -> Quarantine:
    return Quarantine(root=tmp_path / "crashes", limits=InferenceLimits(), clock=clock)


def marked(quarantine: Quarantine, state: str, key: str = KEY) -> subprocess.Popen[bytes]:
    """A process that has left a mark, and dies when it is told something."""
    process = subprocess.Popen(
        [sys.executable, "-c", DIES, str(quarantine.root), key, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"marked\n"
    return process


def die(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"now\n", timeout=30)
    assert process.returncode == -signal.SIGKILL


def crashes(quarantine: Quarantine) -> dict[str, int]:
    return {one.key: len(one.at) for one, _ in quarantine.entries()}


def test_a_process_that_works_is_no_crash_and_one_that_died_is(quarantine: Quarantine):
    alive = marked(quarantine, "at work")
    quarantine.check(KEY)
    assert crashes(quarantine) == {}
    die(alive)
    quarantine.check(KEY)
    assert crashes(quarantine) == {KEY: 1}
    quarantine.check(KEY)
    assert crashes(quarantine) == {KEY: 1}, "a mark counts once"


def test_a_process_that_died_beside_its_work_is_no_crash(quarantine: Quarantine):
    for state in ("idle", "removed", "hosted"):
        die(marked(quarantine, state))
    quarantine.check(KEY)
    assert crashes(quarantine) == {}
    assert not list(quarantine.root.glob("*.mark"))


def test_two_crashes_are_enough_and_only_for_that_engine(quarantine: Quarantine):
    for _ in range(2):
        die(marked(quarantine, "at work"))
    with pytest.raises(InferenceError, match=r"left alone; `readside doctor --clear abababababab`") as caught:
        quarantine.check(KEY)
    assert caught.value.word == "inference.quarantined"
    quarantine.check(OTHER)


def test_a_crash_is_forgotten_after_a_while_and_a_quarantine_is_not(quarantine: Quarantine, clock: HeldClock):
    quarantine.crashed(KEY, engine="e", model="m")
    clock.advance(quarantine.limits.crash_memory_seconds + 1)
    quarantine.crashed(KEY, engine="e", model="m")
    quarantine.check(KEY)
    quarantine.crashed(KEY, engine="e", model="m")
    clock.advance(quarantine.limits.crash_memory_seconds + 1)
    with pytest.raises(InferenceError):
        quarantine.check(KEY)


def test_a_machine_that_went_down_with_an_engine_s_own_process_is_a_crash(quarantine: Quarantine):
    quarantine.check(KEY)
    held = {"key": KEY, "engine": "e", "model": "m", "boot": "another"}
    (quarantine.root / f"{'ab' * 32}.1.0.mark").write_bytes(b"w" + json.dumps(held).encode())
    quarantine.check(KEY)
    assert crashes(quarantine) == {KEY: 1}


def test_only_what_is_named_is_cleared(quarantine: Quarantine):
    for key in (KEY, OTHER):
        quarantine.crashed(key, engine="e", model="m")
    assert quarantine.clear("sha256:abab") == [KEY]
    assert crashes(quarantine) == {OTHER: 1}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"key": 1, "at": "x"}', "\x00"])
def test_a_record_that_cannot_be_read_stops_nobody(quarantine: Quarantine, content: str):
    quarantine.crashed(KEY, engine="e", model="m")
    (record,) = quarantine.root.glob("*.json")
    record.write_text(content)
    quarantine.check(KEY)
    quarantine.crashed(KEY, engine="e", model="m")
    assert crashes(quarantine) == {KEY: 1}


@pytest.mark.parametrize("content", [b"", b"w", b"w{", b"w{}", b"w[1]", b"\xff\xff", ELSEWHERE])
def test_a_mark_that_cannot_be_read_stops_nobody(quarantine: Quarantine, content: bytes):
    quarantine.check(KEY)
    left = quarantine.root / f"{'ab' * 32}.1.0.mark"
    left.write_bytes(content)
    quarantine.check(KEY)
    assert not left.exists()
    assert crashes(quarantine) == {}
    assert [path.name for path in quarantine.root.parent.iterdir()] == ["crashes"]


def test_a_record_that_cannot_be_written_is_an_engine_passed_over(tmp_path: Path):
    (tmp_path / "crashes").write_text("a file where the folder should be")
    quarantine = Quarantine(root=tmp_path / "crashes", limits=InferenceLimits())
    with pytest.raises(InferenceError, match="record of crashes cannot be written"):
        quarantine.mark(KEY, engine="e", model="m")


def test_another_process_that_holds_the_record_is_waited_for_only_so_long(tmp_path: Path):
    quarantine = Quarantine(root=tmp_path, limits=InferenceLimits(crashes_wait_seconds_max=0.1))
    with quarantine._locked(), pytest.raises(InferenceError):
        quarantine.check(KEY)


def test_looking_writes_nothing(quarantine: Quarantine):
    die(marked(quarantine, "at work"))
    before = sorted(os.listdir(quarantine.root))
    assert list(quarantine.entries()) == []
    assert sorted(os.listdir(quarantine.root)) == before
