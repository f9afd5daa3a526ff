"""The commands on bundles: init and export beside the registry, import at the box."""

from __future__ import annotations

import getpass
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from appliance.cli.terms import (
    DEFAULT_CONFIG,
    FAILED,
    AgainOption,
    AnyTimeOption,
    ConfigOption,
    JsonOption,
    err,
    fail,
    opened_ledger,
    out,
    print_json,
    saying,
)
from appliance.core import log
from appliance.core.clock import as_text
from appliance.disk.durable import DiskFault, NoSpace
from appliance.sync.box import ModelBox, Refused
from appliance.sync.identity import identity_of
from appliance.sync.refusal import Refusal
from appliance.sync.softkey import KeyFault
from appliance.sync.standing import Standing
from provisioning.bundle import office, stamps
from provisioning.bundle import receipt as receipts
from provisioning.bundle.carry import Stick
from provisioning.bundle.export import export as write
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.take import Taking
from provisioning.registry.book import Book
from provisioning.registry.commands import signing
from provisioning.registry.database.engine import open_database, url_of
from provisioning.registry.faults import RegistryFault
from provisioning.registry.operator import operator
from provisioning.registry.server.commands import DatabaseOption

app = typer.Typer(help="Releases to a box without a network, and its answer back.", no_args_is_help=True)
_FAULTS = (BundleFault, RegistryFault, KeyFault)


def add_to_registry(group: typer.Typer) -> None:
    """Hang what is done with sticks beside the registry into its group."""
    group.command()(receipt)


def add_to(group: typer.Typer) -> None:
    """Hang these commands into the group of the command line."""
    group.add_typer(app, name="bundle")


@app.command()
def init(
    registry: Annotated[Path, typer.Argument(help="The registry's folder.")],
    keys: Annotated[
        list[Path], typer.Option(help="Folder with offline keys; may be given for each holder's.")
    ],
    new_key: Annotated[
        bool,
        typer.Option("--new-key", help="The key that stamps bundles may have been stolen: make another."),
    ] = False,
) -> None:
    """Make the key that stamps bundles and its roots, or sign them for another year."""
    with saying(*_FAULTS):
        stamps.begin(signing(registry, keys), keys, new_key=new_key)
    out.print(
        f"Bundles of this registry can be stamped with what lies in {registry / 'bundle'}.", markup=False
    )


@app.command()
def export(
    registry: Annotated[Path, typer.Option(help="The registry's folder.")],
    device: Annotated[list[str], typer.Option(help="A slot; may be given often: all boxes of a site.")],
    to: Annotated[Path, typer.Option("--out", help="Where the stick is mounted.")],
    as_json: JsonOption = False,
) -> None:
    """Write onto a stick what these boxes are assigned, good for ninety days; go on where it was pulled."""
    with saying(*_FAULTS), Progress(disable=as_json, transient=True, console=err) as progress:
        task = progress.add_task("copying", total=None)
        made = write(
            Book(folder=registry),
            device,
            to,
            told=lambda have, of: progress.update(task, completed=have, total=of),
        )
    if as_json:
        print_json({"ok": True, **asdict(made), "until": as_text(made.until)})
        return
    what = ", ".join(made.releases) or "no release"
    out.print(f"The stick has {what} for {', '.join(made.slots)}; it holds until {as_text(made.until)}.")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Option("--from", help="Where the stick is mounted.")],
    config: ConfigOption = DEFAULT_CONFIG,
    again: AgainOption = False,
    any_time: AnyTimeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take what a stick has for this box, checked as over a network, and write a receipt back to it."""
    log.silence()
    with opened_ledger(config) as (read, ledger):
        box, stick = ModelBox(config=read, ledger=ledger, by=getpass.getuser()), Stick(source)
        try:
            standing = Taking(box=box, stick=stick, any_time=any_time).turn(again=again)
        except Refused as refused:
            fail(str(refused))
        except (DiskFault, NoSpace) as error:
            fail(f"the box's disk failed ({type(error).__name__}); look at its room and its health")
        receipt = _receipt(box, standing, stick)
    if as_json:
        print_json({"ok": standing.is_well and bool(receipt), **standing.as_json(), "receipt": receipt})
    else:
        for outcome in standing.outcomes:
            out.print(outcome.text, markup=False)
    raise typer.Exit(0 if standing.is_well and receipt else FAILED)


def receipt(
    stick: Annotated[Path, typer.Argument(help="Where the stick is mounted.")],
    registry: Annotated[Path, typer.Option(help="The registry's folder.")],
    database: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Take the receipts of a stick: verify each, and record what its box says."""
    with saying(*_FAULTS), closing(open_database(url_of(registry, database))) as opened:
        found = office.take(opened, Stick(stick).folder, who=operator())
    well = all(one.word in office.WELL for one in found)
    if as_json:
        print_json({"ok": well, "receipts": [asdict(one) for one in found]})
    for one in () if as_json else found:
        out.print(f"{one.file}: {one.word}: {one.said}", markup=False)
    raise typer.Exit(0 if well else FAILED)


def _receipt(box: ModelBox, standing: Standing, stick: Stick) -> str:
    """Write the receipt of a turn; say where there is none, or nobody signed it. Return its file's name."""
    try:
        signer = identity_of(box.config)
        made = receipts.made(box, standing, signer)
        receipts.put(box, made, signer, stick.folder)
    except (BundleFault, Refusal) as fault:
        err.print(f"readside: no receipt was written: {fault}", markup=False)
        return ""
    except sqlite3.Error as error:
        err.print(f"readside: no receipt was written: the box's outbox failed: {error}", markup=False)
        return ""
    except (DiskFault, NoSpace, OSError) as error:
        err.print(
            f"readside: no receipt was written, the stick cannot be written to ({type(error).__name__}); what"
            " was taken stays taken: import again to write one",
            markup=False,
        )
        return ""
    if signer is None:
        err.print("readside: this box has no key of its own: the receipt is NOT SIGNED", markup=False)
    return made.name
