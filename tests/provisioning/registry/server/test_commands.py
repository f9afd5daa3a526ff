"""The server's commands: people are let in and out, the trail is held against what was said of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import typer
from typer.testing import CliRunner

from appliance.demo.box import free_ports
from provisioning.registry.database.engine import open_database, url_of
from provisioning.registry.server import commands

PASSWORD = "correct horse battery"
SECONDS_MAX = 90.0


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    commands.add_to(made)
    return made


def run(app: typer.Typer, *arguments: object, given: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=given)
    return result.exit_code, result.output


def said(app: typer.Typer, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(app, *arguments, "--json")[1])
    return found


def test_an_account_is_made_listed_changed_and_disabled(app: typer.Typer, folder: Path):
    add = ("account", "add", "maria", folder, "--role")
    assert run(app, *add, "operator", given=PASSWORD)[0] == 0
    assert run(app, *add, "admin", given=PASSWORD)[0] == 1
    assert run(app, *add, "approver", "--again", given=PASSWORD)[0] == 0
    (one,) = said(app, "account", "list", folder)["accounts"]
    assert (one["name"], one["role"], one["disabled_at"]) == ("maria", "approver", None)
    assert "password_hash" not in one
    assert run(app, "account", "disable", "maria", folder)[0] == 0
    assert run(app, "account", "disable", "maria", folder)[0] == 1
    assert said(app, "audit", "verify", folder)["rows"] == 3


@pytest.mark.parametrize(("name", "password"), [("maria", "short"), ("a:b", PASSWORD), ("", PASSWORD)])
def test_what_cannot_be_an_account_is_bad_usage(app: typer.Typer, folder: Path, name: str, password: str):
    assert run(app, "account", "add", name, folder, "--role", "viewer", given=password)[0] == 2
    assert said(app, "account", "list", folder)["accounts"] == []


def test_a_trail_that_was_changed_or_cut_fails(app: typer.Typer, folder: Path):
    for name in ("maria", "karl"):
        run(app, "account", "add", name, folder, "--role", "viewer", given=PASSWORD)
    first = said(app, "audit", "verify", folder)
    known = f"{first['rows']}:{first['hash']}"
    assert run(app, "audit", "verify", folder, "--known", known)[0] == 0
    database = open_database(url_of(folder))
    with database.write() as tx:
        tx.exec_driver_sql("DELETE FROM audit WHERE seq = 2")
    assert run(app, "audit", "verify", folder)[0] == 0
    code, told = run(app, "audit", "verify", folder, "--known", known)
    assert (code, "cut" in told) == (1, True)
    with database.write() as tx:
        tx.exec_driver_sql("UPDATE audit SET who = 'nobody'")
    database.close()
    assert run(app, "audit", "verify", folder)[0] == 1


def test_a_folder_without_a_registry_gets_no_database(app: typer.Typer, tmp_path: Path):
    assert run(app, "account", "list", tmp_path)[0] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [("--webhook", "alerts.example"), ("--mail-relay", "relay:25"), ("--mail-relay", "relay")]
)
def test_a_way_to_tell_that_is_none_is_bad_usage(app: typer.Typer, folder: Path, wrong: tuple[str, str]):
    assert run(app, "serve", folder, *wrong)[0] == 2


@contextmanager
def several(folder: Path, processes: int) -> Iterator[tuple[psutil.Process, str]]:
    """Run the command with several processes until the block ends."""
    (port,) = free_ports(1)
    command = ["registry", "serve", str(folder), "--port", str(port), "--processes", str(processes)]
    process = subprocess.Popen([sys.executable, "-m", "appliance.cli", *command], env=os.environ)
    try:
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS_MAX)


def servers(first: psutil.Process) -> list[psutil.Process]:
    return [one for one in first.children() if _serves(one)]


def _serves(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:
        return False


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def until(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_process_that_dies_is_started_anew_and_all_end_together(folder: Path):
    with several(folder, 2) as (first, url):
        until(lambda: answers(url))
        until(lambda: len(servers(first)) == 2)
        dead, other = servers(first)
        dead.kill()
        until(lambda: len(servers(first)) == 2 and dead not in servers(first))
        assert answers(url)
        left = servers(first)
        assert other in left
    _, alive = psutil.wait_procs(left, timeout=SECONDS_MAX)
    assert alive == []


@pytest.mark.long
def test_processes_end_when_the_first_was_killed(folder: Path):
    with several(folder, 2) as (first, url):
        until(lambda: answers(url))
        until(lambda: len(servers(first)) == 2)
        left = servers(first)
        first.kill()
        _, alive = psutil.wait_procs(left, timeout=SECONDS_MAX)
        assert alive == []
