"""What may be loaded follows from what there is, what is held and what the site said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.inference import memory
from appliance.inference.memory import (
    Budget,
    available_bytes,
    largest_bytes,
    machine_available_bytes,
    machine_bytes,
    private_bytes,
)

MIB = 1 << 20


def test_the_machine_says_what_is_left():
    left = machine_available_bytes()
    assert left is not None
    assert MIB < left < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_bound_of_a_control_group_counts(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8192 kB\nMemAvailable:  4096 kB\n")
    assert machine_available_bytes(meminfo, tmp_path / "none") == 4 * MIB
    own = Path("/proc/self/cgroup").read_text(encoding="ascii").partition("0::")[2].split("\n")[0]
    group = tmp_path / own.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.current").write_text(f"{2 * MIB}\n")
    for bound, left in (("max", 4), (str(3 * MIB), 1), (str(MIB), 0)):
        (group / "memory.max").write_text(f"{bound}\n")
        assert machine_available_bytes(meminfo, tmp_path) == left * MIB


def test_the_machine_bounds_what_runs_on_it_and_a_device_answers_for_itself():
    whole = machine_bytes()
    assert whole is not None
    assert MIB < whole <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert largest_bytes(["openvino", "cpu"]) == whole
    assert largest_bytes(["cuda", "cpu"]) is None


def test_a_machine_that_does_not_say_bounds_nothing(tmp_path: Path):
    assert machine_available_bytes(tmp_path / "none", tmp_path) is None
    budget = Budget(bytes_max=None, reserve_bytes=MIB, available=lambda: None)
    assert (budget.room_bytes(0, 0), budget.most_bytes(0, 0)) == (None, None)


def test_the_memory_of_a_process_counts_without_what_it_shares():
    program = "held = bytearray(64 << 20); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 64 * MIB <= private_bytes(child.pid) < 256 * MIB
        child.kill()
        child.wait()
        assert private_bytes(child.pid) == 0


def test_a_device_is_asked_only_for_engines_that_run_on_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "device_free_bytes", lambda device: (device + 1) * MIB)
    monkeypatch.setattr(memory, "machine_available_bytes", lambda: 99 * MIB)
    assert available_bytes(["tensorrt", "cpu"], 1) == 2 * MIB
    assert available_bytes(["openvino", "cpu"], 1) == 99 * MIB
    monkeypatch.setattr(memory, "device_free_bytes", lambda _device: None)
    assert available_bytes(["cuda"], 0) == 99 * MIB


def test_a_driver_that_is_not_there_is_no_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_NVML", "libof-a-driver-that-is-not-there.so.1")
    assert memory.device_free_bytes(0) is None


def test_a_configured_bound_is_kept_whatever_the_machine_has():
    budget = Budget(bytes_max=10 * MIB, reserve_bytes=MIB, available=lambda: 0)
    assert budget.room_bytes(4 * MIB, 3 * MIB) == 3 * MIB
    assert budget.most_bytes(9 * MIB, 4 * MIB) == 6 * MIB


def test_without_one_the_reserve_stays_and_what_is_held_could_come_back():
    budget = Budget(bytes_max=None, reserve_bytes=MIB, available=lambda: 8 * MIB)
    assert budget.room_bytes(5 * MIB, 2 * MIB) == 5 * MIB
    assert budget.most_bytes(5 * MIB, 4 * MIB) == 8 * MIB
