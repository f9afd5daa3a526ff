"""Commands by which the people of a site say when, and whether, another version of a model may serve."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from appliance.cli.terms import BAD_USE, DEFAULT_CONFIG, ConfigOption, fail, opened_ledger, out
from appliance.core.config import Config
from appliance.core.windows import WindowError, end_of, local_text
from appliance.ledger import controls, passages, versions
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.controls import EVERY_MODEL, Kind, NothingWaits
from appliance.ledger.engine import Ledger
from appliance.sync.limits import STEPS

Model = Annotated[str, typer.Argument(help="The model's name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for those who look later.")]
Until = Annotated[
    str, typer.Option("--until", help="The last day, or a time: 2026-12-31, 2026-12-31T06:00. Site's clocks.")
]
Every = Annotated[bool, typer.Option("--all", help="Every model, those of later too.")]
_DAY_SECONDS = 86_400.0


def hold(
    until: Until,
    reason: Reason,
    model: Annotated[str | None, typer.Argument(help="The model's name.")] = None,
    every: Every = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Hold a model, or all: nothing new is fetched or begins to serve until then. A recall is still told."""
    name = _one_or_all(model, every=every)
    with opened_ledger(config) as (read, ledger):
        if model is not None and not _versions(read, ledger, model):
            fail(f"no model of this box is called {model}; see `readside model list`")
        _place(read, ledger, Kind.HOLD, name, reason=reason, until=until)


def pin(
    model: Model,
    version: Annotated[str, typer.Argument(help="The version that it stays at.")],
    until: Until,
    reason: Reason,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Keep a model at a version that is on this box: no other one begins to serve until then."""
    with opened_ledger(config) as (read, ledger):
        if version not in _versions(read, ledger, model):
            fail(f"{model} {version} is not on this box and is not assigned to it; see `readside model list`")
        _place(read, ledger, Kind.PIN, model, reason=reason, until=until, version=version)


def unhold(
    model: Annotated[str | None, typer.Argument(help="The model's name.")] = None,
    every: Every = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Lift hold and pin of a model; with --all, the hold on every model, and not those on single ones."""
    name = _one_or_all(model, every=every)
    with opened_ledger(config) as (_, ledger):
        with ledger.write() as tx:
            lifted = controls.lift(tx, name, by=getpass.getuser(), at=ledger.clock.now())
        if not lifted:
            fail(f"nothing holds {name or 'every model'}; see `readside status`")
    out.print(f"{name or 'every model'}: lifted", markup=False)


def consent(
    model: Model,
    version: Annotated[str, typer.Argument(help="The version that is agreed to.")],
    by: Annotated[str, typer.Option("--by", help="Who agrees.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Agree that an assigned version may begin to serve, where the site wants to be asked."""
    by = _line(by, "--by")
    with opened_ledger(config) as (read, ledger):
        try:
            with ledger.write() as tx:
                controls.consent(tx, model, version, by=by, at=ledger.clock.now(), account=getpass.getuser())
        except NothingWaits as error:
            fail(str(error))
        asked = "" if read.registry.consent else " (this site does not ask: registry.consent is false)"
    out.print(f"{model} {version}: {by} agreed{asked}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Hang the commands into a group."""
    for command in (hold, unhold, pin, consent):
        app.command(command.__name__)(command)


def _place(
    config: Config,
    ledger: Ledger,
    kind: Kind,
    name: str,
    *,
    reason: str,
    until: str,
    version: str | None = None,
) -> None:
    reason, zone, at = _line(reason, "--reason"), config.site.zone, ledger.clock.now()
    try:
        end = end_of(until, zone)
    except WindowError as error:
        fail(str(error), code=BAD_USE)
    if not at < end <= at + STEPS.control_seconds_max:
        days = round(STEPS.control_seconds_max / _DAY_SECONDS)
        fail(
            f"--until must lie ahead, and at most {days} days: what is held for ever is forgotten",
            code=BAD_USE,
        )
    with ledger.write() as tx:
        controls.place(tx, kind, name, reason=reason, by=getpass.getuser(), at=at, until=end, version=version)
    what = f"{name or 'every model'}: {'held' if version is None else f'kept at {version}'}"
    out.print(f"{what} until {local_text(end, zone)} ({zone.key})", markup=False)


def _versions(config: Config, ledger: Ledger, name: str) -> set[str]:
    """Return the versions of a model that are here or on their way."""
    with ledger.read() as tx:
        here = {row.version for row in versions.everything(tx) if row.name == name and row.here}
        coming = {row.version for row in passages.under_way(tx) if row.name == name}
    standing = {
        package.manifest.version
        for package in Catalogue(ledger, config).standing()
        if package.manifest.name == name
    }
    return here | coming | standing


def _one_or_all(model: str | None, *, every: bool) -> str:
    if (model is None) is not every:
        fail("name one model, or give --all", code=BAD_USE)
    return EVERY_MODEL if model is None else model


def _line(text: str, option: str) -> str:
    """Return what a person said as one line within its bound."""
    line = " ".join(text.split())
    if not line or len(line) > STEPS.reason_characters_max or not line.isprintable():
        fail(f"{option} needs a line of 1 to {STEPS.reason_characters_max} characters", code=BAD_USE)
    return line
