"""Check a whole installation, or try every engine on this machine: `readside doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.packages import packages_of, settings_here
from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json, read_config
from appliance.core import log
from appliance.inference.engine import InferenceError
from appliance.inference.life import CRASHES
from appliance.inference.makers import MAKERS
from appliance.inference.quarantine import Quarantine
from appliance.inference.selftest import State, Trial, trials
from appliance.inference.settings import EngineSettings, settings_of
from appliance.inference.store import EngineStore

_KEY_DIGITS_MIN = 8


class PeerTrial(StrEnum):
    """How far peers are tried."""

    ECHO = "echo"
    FULL = "full"


def doctor(
    config: Annotated[Path | None, typer.Option("--config", help="Check the site this describes.")] = None,
    peers: Annotated[
        PeerTrial,
        typer.Option(
            help="full: also store a marked test object in each destination and have it sent back; "
            "the object stays there until somebody deletes it."
        ),
    ] = PeerTrial.ECHO,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run this check and those it stands on; may be given often."),
    ] = None,
    ntp: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Compare the clock with this time server.")
    ] = "",
    hardware_selftest: Annotated[
        bool,
        typer.Option(
            "--hardware-selftest",
            help="Try every engine on this machine with the models that ship; takes minutes on a GPU.",
        ),
    ] = False,
    clear: Annotated[
        str, typer.Option("--clear", metavar="KEY", help="Let an engine that was put aside be tried again.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check the installation; each fault has a name, its cause, what to do and who does it. Exit 1 if any."""
    log.silence()
    if clear:
        _clear(clear, config)
        return
    if hardware_selftest:
        _selftest(config, as_json=as_json)
        return
    # The fleet's tools stand on the box and not the box on them: what is up there is asked for by name.
    show = import_module("provisioning.doctor.show")
    asked = show.Asked(config=config, full=peers is PeerTrial.FULL, only=only or (), ntp=ntp, as_json=as_json)
    if not show.doctor(asked):
        raise typer.Exit(1)


def _clear(key: str, config: Path | None) -> None:
    if config is None:
        fail("--clear needs --config FILE: the record of crashes is the site's", code=BAD_USE)
    if len(key.removeprefix("sha256:")) < _KEY_DIGITS_MIN:
        fail(f"{key!r} is too short; give at least {_KEY_DIGITS_MIN} digits of the key", code=BAD_USE)
    settings = settings_of(read_config(config))
    assert settings.store is not None, "a site has a store"
    try:
        cleared = {
            *Quarantine(root=settings.store / CRASHES, limits=settings.limits).clear(key),
            *EngineStore(root=settings.store, limits=settings.limits).clear(key),
        }
    except InferenceError as error:
        fail(error.sentence)
    if not cleared:
        fail(f"no engine that crashed, failed or was refused has a key that begins with {key!r}")
    for one in sorted(cleared):
        out.print(f"{one[:19]} is tried again when its model is next loaded.", markup=False)


def _selftest(config: Path | None, *, as_json: bool) -> None:
    site = None if config is None else read_config(config)
    names = tuple(MAKERS) if site is None else site.inference.engines
    settings = EngineSettings() if site is None else settings_here(site)
    packages, _ = packages_of(site)
    with err.status("trying the engines") as status:
        told = list(
            trials(list(packages.values()), names, settings, progress=lambda what: status.update(what))
        )
    failed = [trial for trial in told if trial.state is State.FAILED]
    if as_json:
        print_json({"ok": not failed, "engines": [asdict(trial) for trial in told]})
    else:
        _table(told)
    if failed:
        raise typer.Exit(1)


def _table(told: Sequence[Trial]) -> None:
    table = Table("engine", "model", "verdict", "build s", "load s", "golden s", "ms a call", "MiB", box=None)
    for trial in told:
        call = "" if trial.call_seconds is None else f"{trial.call_seconds * 1000:.1f}"
        table.add_row(
            trial.engine,
            "" if trial.state is State.NOT_HERE else trial.model,
            trial.state.value,
            *(_seconds(trial, stage) for stage in ("build", "load", "golden")),
            call,
            str(-(-trial.memory_bytes // 2**20)) if trial.memory_bytes else "",
        )
    out.print(table)
    for trial in told:
        if trial.reason:
            whose = trial.engine if trial.state is State.NOT_HERE else f"{trial.engine} with {trial.model}"
            out.print(f"{whose}: {trial.state.value}: {trial.reason}", markup=False)


def _seconds(trial: Trial, stage: str) -> str:
    return f"{trial.seconds[stage]:.2f}" if stage in trial.seconds else ""
