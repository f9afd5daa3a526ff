"""The command line from outside: a site from set-up to care, exit codes, help, the demonstration."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
import typer.main
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.core.config import load
from appliance.demo.box import BOX_AE, free_ports
from dicom_node.limits import Limits as WireLimits
from dicom_node.listener import Listener
from dicom_node.memory import Held, MemoryIntake
from dicom_node.send import send
from dicom_node.values import AeTitle, Peer
from tests.system.boxes import COMMAND, PACS_AE, pacs_in, readside
from tests.system.dcmtk import echo
from tests.system.images import made_up, outgoing, shipped
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
_READY_SECONDS = 60.0


def ask(config: Path, *command: str) -> Any:
    """Ask a command that only looks, in this process, which saves its start; return its JSON object."""
    said = CliRunner().invoke(app, [*command, "--config", str(config), "--json"])
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def act(config: Path, *command: str) -> Any:
    """Run a command that changes something; return its JSON object."""
    said = readside(*command, "--config", config, "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout)


def edited(config: Path, *, pacs_port: int) -> tuple[int, int]:
    """Fit what `readside init` wrote to this machine, as a person would; return DICOM and console port."""
    dicom_port, console_port = free_ports(2)
    text = config.read_text(encoding="utf-8")
    pacs = f'ae_title = "{PACS_AE}"\nhost = "127.0.0.1"\nport = {pacs_port}'
    for old, new in (
        ('host = "0.0.0.0"\nport = 11112', f'host = "127.0.0.1"\nport = {dicom_port}'),
        ('ae_title = "PACS"\nhost = "192.0.2.10"\nport = 104', pacs),
        ("floor_gib = 5.0", "floor_gib = 0.1"),
        ("quiet_seconds = 60\nseries_quiet_seconds = 30", "quiet_seconds = 1\nseries_quiet_seconds = 0.5"),
        ("port = 8042", f"port = {console_port}"),
        ("when = 'Modality == \"CT\" && slices >= 3'", "when = 'Modality == \"CT\"'"),
    ):  # fmt: skip
        assert text.count(old) == 1, f"the template has no {old!r}"
        text = text.replace(old, new)
    config.write_text(text, encoding="utf-8")
    return dicom_port, console_port


@contextmanager
def run(config: Path, console_port: int) -> Iterator[None]:
    """Run the box until the end of the block; it must then end in order."""
    with (config.parent / "box.log").open("ab") as output:
        process = subprocess.Popen([*COMMAND, "run", "--config", str(config)], stdout=output, stderr=output)
    port = load(config).dicom.port
    try:
        until(lambda: _ready(console_port), seconds=_READY_SECONDS, what="the box says that it is ready")
        until(lambda: echo(port, calling=PACS_AE).returncode == 0, seconds=_READY_SECONDS, what="an echo")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0, "SIGTERM ends the box in order"


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def gauges(port: int) -> Counter[str]:
    """Return what Prometheus would read of jobs and deliveries: by state, and how many in all."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for kind, state, value in re.findall(r'^readside_(jobs|deliveries)\{state="(\w+)"\} (\d+)', text, re.M):
        found[f"{kind} {state}"] = int(value)
        found[kind] += int(value)
    return found


@contextmanager
def refusing(port: int) -> Iterator[None]:
    """Stand in for a PACS that answers every C-STORE with 0124, not authorised."""

    def keep(_instance: Held) -> None:
        raise AssertionError("nothing is kept here")

    box = Peer(name="box", ae_title=AeTitle.parse(BOX_AE), host="127.0.0.1", port=0, may=frozenset())
    listener = Listener(
        ae_title=PACS_AE,
        host="127.0.0.1",
        port=port,
        peers=[box],
        intake=MemoryIntake(keep),
        limits=WireLimits(),
    )
    listener.start()
    try:
        yield
    finally:
        listener.stop()


def broken_slice(folder: Path) -> Path:
    """A CT slice whose compressed pixels are noise."""
    dataset = pydicom.dcmread(shipped("693_J2KI.dcm")[0])
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" + bytes(range(256)) * 2])
    dataset.save_as(folder / "broken.dcm")
    return folder / "broken.dcm"


@pytest.mark.timeout(600)
def test_a_site_from_init_to_settle(tmp_path: Path, at_end: ExitStack) -> None:
    config = tmp_path / "site.toml"
    made = readside("init", config, "--root", tmp_path / "box", "--user", "anna")
    assert made.returncode == 0, made.stderr
    assert "Password, shown only now: " in made.stdout
    assert config.stat().st_mode & 0o077 == 0
    assert readside("check-config", config).returncode == 0
    assert tomllib.loads(config.read_text())["console"]["users"][0]["name"] == "anna"
    (pacs_port,) = free_ports(1)
    dicom_port, console_port = edited(config, pacs_port=pacs_port)
    assert load(config).dicom.port == dicom_port
    assert json.loads(readside("check-config", config, "--json").stdout) == {
        "ok": True,
        "faults": [],
        "warnings": [],
    }
    missing = readside("status", "--config", config)
    assert (missing.returncode, "readside run" in missing.stderr) == (1, True), "it says what to do first"

    stack = at_end.enter_context(ExitStack())
    stack.enter_context(run(config, console_port))
    with refusing(pacs_port):
        study, bad = made_up(), outgoing(broken_slice(tmp_path))
        bad_uid = str(pydicom.dcmread(tmp_path / "broken.dcm").StudyInstanceUID)
        box = Peer(
            name="box", ae_title=AeTitle.parse(BOX_AE), host="127.0.0.1", port=dicom_port, may=frozenset()
        )
        for sent in send(box, calling_ae=PACS_AE, objects=[*study.instances(), bad], limits=WireLimits()):
            assert sent.status == 0

        def all_dead() -> bool:
            now = gauges(console_port)
            ended = now["jobs DONE"] == now["jobs FAILED"] == 1
            return ended and now["deliveries DEAD"] == now["deliveries"]

        until(all_dead, seconds=90, what="the PACS refused everything for good")
    look_at(config, study.study_uid, bad_uid)
    audited(config, study.study_uid)
    care_for(config, study.study_uid, bad_uid, pacs_folder=tmp_path / "pacs")


def look_at(config: Path, study_uid: str, bad_uid: str) -> None:
    """Ask everything that only looks."""
    report = ask(config, "status")
    assert report["balance"] == 0
    assert report["kept"] == report["in_studies"] == 7
    assert report["jobs"] == {"DONE": 1, "FAILED": 1}
    wanted = {"listener", "conductor", "worker", "courier", "console", "audit", "health"}
    assert set(report["services"]) == wanted
    assert "deliveries" in readside("status", "--config", config).stdout
    listed = ask(config, "studies")["studies"]
    assert {row["study_uid"]: row["outcomes"] for row in listed} == {
        study_uid: ["commissioning: measured"],
        bad_uid: ["commissioning: failed"],
    }
    assert study_uid in readside("studies", "--config", config).stdout
    timeline = readside("studies", study_uid, "--config", config).stdout
    for word in ("assemble.opened", "assemble.ready", "job.done", "courier.refused"):
        assert word in timeline
    assert "a person must send again or settle" in readside("why", study_uid, "--config", config).stdout
    assert ask(config, "why", bad_uid)["routes"][0]["runs"][0]["outcome"] == "failed"


def audited(config: Path, study_uid: str) -> None:
    """The trail tells what came, that it was refused elsewhere, and nobody's name; and it holds."""

    def told() -> str:
        return readside("audit", "export", "--config", config).stdout

    until(lambda: "110104" in told() and study_uid in told(), seconds=30, what="the transfers are told")
    assert "110100" in told(), "services that started"
    assert ask(config, "audit", "verify")["ok"]
    text = readside("audit", "verify", "--config", config).stdout
    assert text.startswith("The audit trail holds: ")


def care_for(config: Path, study_uid: str, bad_uid: str, *, pacs_folder: Path) -> None:
    """Run again what failed, end one dead delivery, send the others once more to a PACS that takes them."""
    site = load(config)
    console_port, pacs_port = site.console.port, site.peer("pacs").port
    assert pacs_port is not None
    dead = [d["id"] for d in ask(config, "studies", study_uid)["deliveries"]]
    assert act(config, "settle", str(dead[0])) == {"settled": 1, "again": False}
    pacs = pacs_in(pacs_folder)
    pacs.start(pacs_port)
    try:
        again = act(config, "settle", "--all", "--again")
        assert again["settled"] > len(dead) - 1
        (job,) = act(config, "retry", bad_uid)["jobs"]

        def all_well() -> bool:
            now = gauges(console_port)
            ended = now["deliveries ACCEPTED"] + 1 == now["deliveries"] and now["deliveries SETTLED"] == 1
            return ended and now["jobs FAILED"] == 2

        until(all_well, seconds=90, what="everything else delivered, the job run again")
        came = [one.sop_instance_uid for one in pacs.journal]
        assert len(came) == len(set(came)) == ask(config, "status")["deliveries"]["ACCEPTED"]
    finally:
        pacs.stop()
    runs = ask(config, "why", bad_uid)["routes"][0]["runs"]
    assert [(run["superseded"], run["outcome"]) for run in runs] == [(True, "failed"), (False, "failed")]
    assert runs[1]["job_id"] == job
    assert readside("settle", "--all", "--config", config).returncode == 1, "nothing is dead any more"
    assert readside("retry", study_uid, "--config", config).returncode == 1, "nothing of it failed"
    assert readside("why", "1.2.3.4", "--config", config).returncode == 1, "never seen here"
    assert ask(config, "status")["balance"] == 0


def test_bad_usage_and_bad_configuration_exit_with_2(tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    assert readside("init", config, "--root", tmp_path / "box").returncode == 0
    assert readside("init", config).returncode == 2, "an existing file is never overwritten"
    text = config.read_text(encoding="utf-8")
    faulty = text.replace("port = 11112", "port = 99999").replace(
        'model = "ct-tissue-bands"', 'model = "nothing"'
    )
    config.write_text(faulty.replace("[inference]", "[inference]\nturbo = true"), encoding="utf-8")
    said = readside("check-config", config)
    assert said.returncode == 2
    for fault in ("dicom.port", "inference.turbo"):
        assert fault in said.stderr, "every fault at once"
    for command in (
        ("run", "--config", str(config)),
        ("status", "--config", str(config)),
        ("status", "--config", str(tmp_path / "nowhere.toml")),
        ("retry",),
        ("settle",),
        ("status", "--nonsense"),
    ):
        assert CliRunner().invoke(app, command).exit_code == 2, command
    assert readside("nonsense").returncode == 2


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return every command below one, by the words that call it."""
    inner = getattr(group, "commands", {})
    return [path, *(found for name, command in inner.items() for found in commands(command, (*path, name)))]


@pytest.mark.parametrize("path", commands(typer.main.get_command(app)), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, [*path, "--help"])
    assert said.exit_code == 0
    assert "Usage:" in said.stdout
    assert "Place holder" not in said.stdout


def test_help_comes_without_a_word(tmp_path: Path) -> None:
    said = readside("--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert "check-config" in said.stdout


def test_the_commands_of_this_version_are_there() -> None:
    names = {path[0] for path in commands(typer.main.get_command(app)) if path}
    wanted = "demo init check-config run status studies why retry settle model analyse"
    assert set(wanted.split()) <= names


def test_the_demonstration_proves_itself(tmp_path: Path) -> None:
    said = readside("demo", "--json", "--keep", tmp_path / "kept", seconds=230)
    assert said.returncode == 0, said.stdout + said.stderr
    report = json.loads(said.stdout.splitlines()[-1])
    assert report["ok"] is True
    assert set(report["seconds"]) == {"receive", "last_slice_to_accepted", "raw_inference"}
    assert all(seconds > 0 for seconds in report["seconds"].values())
    assert report["console"].startswith("http://127.0.0.1:")
    assert len(report["results"]) >= 8
    for result in report["results"]:
        dataset = pydicom.dcmread(result["path"])
        assert dataset.StudyInstanceUID == report["study_uid"]
        told = (result["modality"], result["sop_class_uid"], result["series_description"])
        assert told == (dataset.Modality, dataset.SOPClassUID, dataset.SeriesDescription)
