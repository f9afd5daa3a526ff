"""The whole box under its units, by a systemd of its own: it works, and cannot do what it need not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.box import ServiceName
from appliance.demo.box import BOX_AE
from tests.system import images
from tests.system.dcmtk import MODALITY_AE
from tests.system.programs import need
from tests.system.waiting import until
from tests.systemd.machine import Binds, Machine, checkout_in, machine

_READSIDE = ("runuser", "-u", "readside", "--", "/opt/readside/bin/readside")
_CONFIG = "/etc/readside/site.toml"
_PORT, _PACS_PORT = 11112, 11113
_WATCHDOG_SECONDS = 6
SITE = f"""
[site]
name = "bench"

[dicom]
ae_title = "{BOX_AE}"
host = "127.0.0.1"
port = {_PORT}

[storage]
root = "/var/lib/readside"
floor_gib = 0.1

[assembly]
quiet_seconds = 1.0

[console]
port = 8042

[[peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {_PACS_PORT}
outputs = ["sr"]

[[peers]]
name = "modality"
ae_title = "{MODALITY_AE}"

[[routes]]
name = "bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""
# A machine boots and loads its models in seconds; beside other work, in a minute.
pytestmark = pytest.mark.timeout(300)
NAMES = [name.value for name in ServiceName]
# What a process may not have, and what it must, by proc(5).
CONFINED = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}


def furnish(files: Path) -> Binds:
    binds = checkout_in(files)
    (files / "etc/readside").mkdir()
    (files / "etc/readside/site.toml").write_text(SITE, encoding="utf-8")
    watchdog = files / "etc/systemd/system/readside-conductor.service.d/90-test.conf"
    watchdog.parent.mkdir()
    watchdog.write_text(f"[Service]\nWatchdogSec={_WATCHDOG_SECONDS}\n", encoding="ascii")
    return binds


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which every service got ready."""
    with machine(tmp_path_factory.mktemp("machine"), furnish) as made:
        made.boot("readside.target")
        for name in NAMES:
            until(lambda name=name: active(made, name), seconds=90, what=f"{name} is ready")  # type: ignore[misc]
        yield made


def unit(name: str) -> str:
    return f"readside-{name}.service"


def active(machine: Machine, name: str) -> bool:
    return machine.shows(unit(name), "ActiveState") == "active"


def pid(machine: Machine, name: str) -> int:
    return int(machine.shows(unit(name), "MainPID"))


def status(machine: Machine) -> dict[str, Any]:
    said = machine.run(*_READSIDE, "status", "--config", _CONFIG, "--json").stdout
    found: dict[str, Any] = json.loads(said)
    return found


def accepted(machine: Machine) -> dict[str, Any]:
    """Return the status once everything that was made is at its destination."""
    said = status(machine)
    return said if said["deliveries"].get("ACCEPTED") else {}


@contextmanager
def pacs(machine: Machine) -> Iterator[Path]:
    """A PACS on the machine's loopback; give the folder it writes to."""
    folder = machine.files / "srv/pacs"
    folder.mkdir(exist_ok=True)
    command = (need("storescp"), "-aet", "PACS", "+xa", "-od", "/srv/pacs", str(_PACS_PORT))
    running = machine.start(*command)
    try:
        yield folder
    finally:
        running.kill()
        running.wait(10)


def send(machine: Machine, number: int) -> str:
    study = images.made_up(number=number)
    folder = machine.files / "srv" / str(number)
    folder.mkdir()
    images.files(study.instances(), folder)
    titles = ("-aet", MODALITY_AE, "-aec", BOX_AE)
    machine.run(need("storescu"), *titles, "+sd", "127.0.0.1", _PORT, f"/srv/{number}")
    return study.study_uid


def test_a_study_goes_all_the_way(booted: Machine) -> None:
    with pacs(booted) as folder:
        study_uid = send(booted, 9001)
        until(lambda: list(folder.iterdir()), seconds=60, what="the report is in the PACS")
        until(lambda: status(booted)["deliveries"].get("ACCEPTED"), seconds=30, what="and known to be there")
    told = booted.run(*_READSIDE, "why", study_uid, "--config", _CONFIG).stdout
    assert "bands" in told
    assert status(booted)["balance"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_service_may_do_little(booted: Machine, name: str) -> None:
    main = pid(booted, name)
    lines = booted.run("cat", f"/proc/{main}/status").stdout.splitlines()
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    assert {key: facts[key] for key in CONFINED} == CONFINED
    sees = ("nsenter", f"--target={main}", "--mount", "--")
    refused = booted.run(*sees, "touch", "/etc/readside/site.toml", check=False)
    assert "Read-only file system" in refused.stderr
    assert booted.run(*sees, "ls", "/root", check=False).stdout == ""
    if name != "telemetry":
        booted.run(*sees, "touch", "/var/lib/readside/run/.written")
    core = booted.run("grep", "Max core file size", f"/proc/{main}/limits").stdout.split()
    assert core[4:6] == ["0", "0"]


def test_the_worker_has_no_network_and_the_listener_no_devices(booted: Machine) -> None:
    there = ("nsenter", f"--target={pid(booted, 'worker')}", "--net", "--")
    links = booted.run(*there, "cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] == ["lo"]
    assert booted.run(*there, need("echoscu"), "127.0.0.1", _PORT, check=False).returncode != 0
    assert (
        booted.run(need("echoscu"), "-aet", MODALITY_AE, "-aec", BOX_AE, "127.0.0.1", _PORT).returncode == 0
    )
    sees = ("nsenter", f"--target={pid(booted, 'listener')}", "--mount", "--")
    devices = set(booted.run(*sees, "ls", "/dev").stdout.split())
    assert {"null", "urandom"} <= devices
    assert not {name for name in devices if name.startswith(("nvidia", "nvhost", "sd", "vd", "mem", "kmsg"))}


def test_who_sends_numbers_sees_nothing_else(booted: Machine) -> None:
    sees = ("nsenter", f"--target={pid(booted, 'telemetry')}", "--mount", "--")
    assert booted.run(*sees, "ls", "-A", "/var/lib/readside").stdout.split() == ["telemetry"]
    assert "ledger.sqlite3" in booted.run("ls", "/var/lib/readside").stdout
    booted.run(*sees, "touch", "/var/lib/readside/telemetry/.written")
    booted.run("test", "-e", "/var/lib/readside/telemetry/.written")


def test_who_was_killed_comes_back(booted: Machine) -> None:
    before = pid(booted, "listener")
    booted.run("kill", "-9", before)
    until(
        lambda: active(booted, "listener") and pid(booted, "listener") not in (0, before),
        seconds=30,
        what="another listener",
    )
    with pacs(booted) as folder:
        had = len(list(folder.iterdir()))
        send(booted, 9002)
        until(lambda: len(list(folder.iterdir())) > had, seconds=60, what="the next report is in the PACS")


def test_who_hangs_is_ended_and_comes_back(booted: Machine) -> None:
    before = pid(booted, "conductor")
    booted.run("kill", "-STOP", before)
    until(
        lambda: active(booted, "conductor") and pid(booted, "conductor") not in (0, before),
        seconds=_WATCHDOG_SECONDS + 30,
        what="another conductor",
    )
    assert "Watchdog timeout" in booted.journal(unit("conductor"))


def test_they_stop_in_order_when_told_to(booted: Machine) -> None:
    booted.run("systemctl", "stop", "readside.target", seconds=90)
    for name in NAMES:
        until(lambda name=name: not active(booted, name), seconds=50, what=f"{name} stops")  # type: ignore[misc]
        assert booted.shows(unit(name), "Result") == "success", booted.journal(unit(name))[-2000:]
