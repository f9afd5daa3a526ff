"""Commands on a registry: the device's own here, those of publisher and operator from `provisioning`."""

from __future__ import annotations

import getpass
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli import registry_controls
from appliance.cli.terms import (
    DEFAULT_CONFIG,
    FAILED,
    AgainOption,
    AnyTimeOption,
    ConfigOption,
    JsonOption,
    fail,
    opened_ledger,
    out,
    print_json,
)
from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace
from appliance.sync.box import ModelBox, Refused
from appliance.sync.carrier import Carrier, Folder
from appliance.sync.sources import carrier_for, limits_for
from appliance.sync.standing import Standing
from appliance.sync.turn import Syncer

app = typer.Typer(help="Signed releases of models: publish, assign, bring onto a box.", no_args_is_help=True)
# The fleet stands on the box and not the box on the fleet: what is up there is asked for by name, here alone.
import_module("provisioning.registry.commands").add_to(app)
registry_controls.add_to(app)
import_module("provisioning.bundle.commands").add_to_registry(app)


@app.command("sync")
def sync(
    config: ConfigOption = DEFAULT_CONFIG,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A folder with the public tree of the registry, as on a stick."),
    ] = None,
    again: AgainOption = False,
    any_time: AnyTimeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look at the registry once: fetch, prove and let serve what is assigned, or say why not."""
    log.silence()
    with opened_ledger(config) as (read, ledger):
        carrier: Carrier
        if source is not None:
            carrier = Folder(root=source)
        elif read.registry.url:
            carrier = carrier_for(read.registry)
        else:
            fail("registry.url is not given: name a folder with --from", code=2)
        box = ModelBox(config=read, ledger=ledger, by=getpass.getuser())
        try:
            with closing(carrier):
                syncer = Syncer(box=box, carrier=carrier, limits=limits_for(read.registry), any_time=any_time)
                standing = syncer.turn(again=again)
        except Refused as refused:
            fail(str(refused))
        except (DiskFault, NoSpace) as error:
            fail(f"the box's disk failed ({type(error).__name__}); look at its room and its health")
    if as_json:
        print_json({"ok": standing.is_well, **standing.as_json()})
    else:
        _say(standing)
    raise typer.Exit(0 if standing.is_well else FAILED)


def _say(standing: Standing) -> None:
    for outcome in standing.outcomes:
        out.print(outcome.text, markup=False)
