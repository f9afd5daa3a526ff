"""What every service stands on, and the supervisor that starts again what dies."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from appliance.cli import box
from appliance.core import log
from appliance.core.clock import Clock
from appliance.core.limits import Limits
from appliance.services.run import Child, Supervisor
from appliance.services.stage import FAULT_EXIT, SUPERVISOR, AnotherRuns, Stage, _beat, _only_one, living

SECONDS_MAX = 20.0


def until(happened) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


HOLDER = """
import sys
from pathlib import Path
from appliance.services.stage import _only_one
with _only_one(Path(sys.argv[1]), "worker"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that runs as the worker of a box until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_service_waits_for_its_former_process_to_end(holder, tmp_path: Path):
    holder.stdin.close()
    with _only_one(tmp_path, "worker"):
        until(lambda: holder.poll() == 0)


def test_a_killed_process_holds_nothing_up(holder, tmp_path: Path):
    holder.kill()
    with _only_one(tmp_path, "worker"):
        pass


def test_who_lives_is_told_by_the_kernel_and_not_by_what_was_written(holder, tmp_path: Path):
    assert living(tmp_path, "worker") == holder.pid
    assert living(tmp_path, "courier") is None
    holder.kill()
    until(lambda: living(tmp_path, "worker") is None)
    with _only_one(tmp_path, "worker"):
        assert living(tmp_path, "worker") == os.getpid()


def test_another_service_is_not_waited_for(holder, tmp_path: Path):
    with _only_one(tmp_path, "courier"):
        assert holder.poll() is None


def test_a_service_that_never_ends_is_named(holder, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("appliance.services.stage.DEFAULT", Limits(drain_seconds=0.1))
    with pytest.raises(AnotherRuns, match="another worker"), _only_one(tmp_path, "worker"):
        pass


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch):
    """A supervisor of one harmless program."""
    real = subprocess.Popen
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **options: real(program, **options))
    limits = Limits(restart_seconds=0.05, restart_seconds_max=0.2)
    made = Supervisor(tmp_path / "site.toml", names=("sleeper",), limits=limits)
    made._start("sleeper", limits.restart_seconds)
    yield made
    made._stop_all()


def sleeper(supervisor: Supervisor) -> Child:
    return supervisor.children["sleeper"]


def restarted(supervisor: Supervisor) -> bool:
    supervisor._look_after(sleeper(supervisor))
    return sleeper(supervisor).due_at is None


@pytest.mark.parametrize(("said", "had"), [(None, "0"), ("1", "1")])
def test_services_ask_for_no_huge_pages_unless_the_site_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, had: str
):
    given: list[dict[str, str]] = []

    def started(_command: list[str], *, env: dict[str, str], **_options: object) -> SimpleNamespace:
        given.append(env)
        return SimpleNamespace()

    monkeypatch.delenv("NUMPY_MADVISE_HUGEPAGE", raising=False)
    if said is not None:
        monkeypatch.setenv("NUMPY_MADVISE_HUGEPAGE", said)
    monkeypatch.setattr(subprocess, "Popen", started)
    Supervisor(tmp_path / "site.toml", names=("sleeper",))._start("sleeper", 1.0)
    assert given[0]["NUMPY_MADVISE_HUGEPAGE"] == had


def test_what_dies_is_started_again(supervisor: Supervisor):
    first = sleeper(supervisor).process.pid
    sleeper(supervisor).process.kill()

    def again() -> bool:
        supervisor._look_after(sleeper(supervisor))
        return sleeper(supervisor).process.pid != first

    until(again)
    assert sleeper(supervisor).process.poll() is None


def test_what_dies_at_once_is_started_less_and_less_often(supervisor: Supervisor):
    pauses = []
    for _ in range(4):
        child = sleeper(supervisor)
        child.process.kill()
        child.process.wait(SECONDS_MAX)
        supervisor._look_after(child)
        pauses.append(child.pause_seconds)
        until(lambda: restarted(supervisor))
    assert pauses == [0.1, 0.2, 0.2, 0.2]


def test_stopping_ends_every_service(supervisor: Supervisor):
    supervisor._stop_all()
    assert sleeper(supervisor).process.poll() is not None


def test_a_fault_of_a_service_names_places_and_no_data(tmp_path: Path):
    config = tmp_path / "site.toml"
    config.write_text(f'[site]\nname = "x"\n[storage]\nroot = "{tmp_path}/box"\n', encoding="utf-8")
    program = (
        "import appliance.services.console as c\n"
        "def fail(config): raise ValueError('patient NOWAK')\n"
        "c.run = fail\n"
        "import sys; sys.argv = ['readside', 'service', 'console', '--config', sys.argv[1]]\n"
        "from appliance.cli.entry import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 70
    assert "NOWAK" not in done.stdout + done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["event"], line["error"]) == ("service.fault", "ValueError")
    assert any("fail" in place for place in line["where"])


def test_a_service_on_a_full_disk_still_sees_that_its_supervisor_is_gone(monkeypatch):
    class Full:
        clock = Clock()

        def write(self):
            raise sa.exc.OperationalError("UPDATE services", {}, Exception("database or disk is full"))

    parents = iter([1, *[1] * 5])
    monkeypatch.setattr("appliance.services.stage._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("appliance.services.stage.os.getppid", lambda: next(parents, 2))
    stage = Stage("worker", None, Full(), Limits(heartbeat_seconds=0.01))  # type: ignore[arg-type]
    _beat(stage)
    assert stage.stopping.is_set()


def test_a_service_whose_supervisor_died_while_it_was_loaded_ends(monkeypatch):
    monkeypatch.setattr("appliance.services.stage._LOOK_SECONDS", 0.01)
    monkeypatch.setenv(SUPERVISOR, str(os.getpid()))  # this process started it; its parent now is another
    stage = Stage("worker", None, SimpleNamespace(clock=Clock()), Limits())  # type: ignore[arg-type]
    _beat(stage)
    assert stage.stopping.is_set()


def test_what_the_system_said_of_a_fault_is_told_and_nothing_else(monkeypatch, capsys):
    def taken(_config):
        raise OSError(errno.EADDRINUSE, "Address already in use", "DOE^JANE")

    monkeypatch.setattr(log, "configure", lambda _name: None)
    monkeypatch.setattr(importlib, "import_module", lambda _name: SimpleNamespace(run=taken))
    assert box._run_service(box.ServiceName.LISTENER, None) == FAULT_EXIT  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "Address already in use" in said
    assert "DOE" not in said
