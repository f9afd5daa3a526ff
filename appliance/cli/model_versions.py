"""Commands about versions of models on a box: install, list, activate, rollback, retire, remove."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from appliance.cli.terms import (
    BAD_USE,
    DEFAULT_CONFIG,
    FAILED,
    ConfigOption,
    JsonOption,
    err,
    fail,
    opened_ledger,
    out,
    print_json,
    read_config,
)
from appliance.core import log
from appliance.core.packages import anything_installed
from appliance.disk.durable import DiskFault, NoSpace
from appliance.inference.engine import BuildProgress
from appliance.ledger import inventory
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.inventory import Line
from appliance.ledger.states import VersionState
from appliance.sync import activate as changes
from appliance.sync.activate import Change
from appliance.sync.box import ModelBox, Refused
from appliance.sync.install import install as bring
from appliance.sync.store import Busy

NameArgument = Annotated[str, typer.Argument(help="The model's name, see `readside model list`.")]
VersionArgument = Annotated[str, typer.Argument(help="Its version.")]
SiteOption = Annotated[
    Path | None,
    typer.Option("--config", help="The box whose packages count as well; the usual place, if there is one."),
]


def install(
    package: Annotated[Path, typer.Argument(help="A package: a folder or a zip of it.")],
    activate: Annotated[
        bool, typer.Option("--activate", help="Let it serve at once, if it passes on this device.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Check a package whole, prove it on the processor and keep it on the box; what serves stays."""
    if not package.exists():
        fail(f"{package}: there is no such folder or file", code=BAD_USE)
    with the_box(config, as_json=as_json) as box, progress_of(f"Checking {package.name}") as progress:
        installed = bring(box, package, progress=progress)
        row = installed.version
        change = None
        if activate:
            change = changes.activate(box, row.name, row.version, progress=progress)
    report = {"ok": True, "name": row.name, "version": row.version, "digest": row.digest}
    told = {"fresh": installed.fresh, "repaired": installed.repaired}
    if as_json:
        print_json({**report, **told, "activated": None if change is None else vars(change)})
        return
    where = "is on this box" if installed.fresh else "was on this box already"
    out.print(f"{row.name} {row.version} {where}: {row.digest}", markup=False)
    if installed.repaired:
        out.print("Its files had been changed; they are right again.")
    if change is not None:
        _say(change)
    elif row.state is not VersionState.ACTIVE:
        out.print(f"Let it serve with: readside model activate {row.name} {row.version}", markup=False)


def activate(
    name: NameArgument,
    version: VersionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Build and check an installed version on this box's engines, and only then let it serve."""
    with the_box(config, as_json=as_json) as box, progress_of(f"Activating {name} {version}") as progress:
        change = changes.activate(box, name, version, progress=progress)
    _report(change, as_json=as_json)


def rollback(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Let the version serve again that served before the active one."""
    with the_box(config, as_json=as_json) as box, progress_of(f"Going back with {name}") as progress:
        change = changes.rollback(box, name, progress=progress)
    _report(change, as_json=as_json)


def retire(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Stop serving with the installed version; what ships or lies in a folder under the name serves again."""
    with the_box(config, as_json=as_json) as box:
        instead = changes.retire(box, name)
    if as_json:
        print_json({"ok": True, "name": name, "serves": None if instead is None else instead.version})
    elif instead is None:
        out.print(f"Nothing serves {name} now.", markup=False)
    else:
        out.print(f"{name} {instead.version} ({instead.origin}) serves now.", markup=False)


def remove(
    name: NameArgument,
    version: VersionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove the files of a version that neither serves nor is waited for."""
    with the_box(config, as_json=as_json) as box:
        gone = changes.remove(box, name, version)
    if as_json:
        print_json({"ok": True, "name": gone.name, "version": gone.version, "digest": gone.digest})
    else:
        out.print(f"{name} {version} is removed from this box; its history stays.", markup=False)


def list_models(config: SiteOption = None, as_json: JsonOption = False) -> None:
    """List the packages on this box: those that ship with Readside, the site's own, and those installed."""
    rows, faults = _rows(config)
    if as_json:
        print_json({"models": [row.as_dict() for row in rows], "faults": faults})
        return
    table = Table("", "name", "version", "state", "origin", "task", "digest", "intended use", box=None)
    for row in rows:
        manifest = None if row.package is None else row.package.manifest
        task, use = ("", "") if manifest is None else (str(manifest.task), manifest.intended_use)
        mark = "*" if row.serves else ""
        table.add_row(mark, row.name, row.version, row.state, row.origin, task, row.digest[:19], use)
    out.print(table)
    for row in rows:
        for fault in inventory.faults_of(row):
            err.print(f"{row.name} {row.version}: {fault}", markup=False)
    for fault in faults:
        err.print(fault, markup=False)


def _rows(path: Path | None) -> tuple[list[Line], list[str]]:
    log.silence()
    if path is None and DEFAULT_CONFIG.is_file():
        path = DEFAULT_CONFIG
    config = None if path is None else read_config(path)
    if config is None or path is None or not anything_installed(config.storage.root):
        return inventory.lines_without_ledger(() if config is None else config.models.folders)
    with opened_ledger(path) as (config, ledger):
        catalogue = Catalogue(ledger, config)
        return inventory.lines(ledger, catalogue), catalogue.faults


@contextmanager
def the_box(path: Path, *, as_json: bool) -> Iterator[ModelBox]:
    """Open the box; a refusal is told with every reason and ends with exit code 1."""
    log.silence()
    with opened_ledger(path) as (config, ledger):
        try:
            yield ModelBox(config=config, ledger=ledger, by=getpass.getuser())
        except Refused as refused:
            if as_json:
                print_json({"ok": False, "faults": refused.faults})
            for fault in () if as_json else refused.faults:
                err.print(f"readside: {fault}", markup=False)
            raise typer.Exit(FAILED) from refused
        except Busy as busy:
            fail(str(busy))
        except (DiskFault, NoSpace) as error:
            fail(f"the box's disk failed ({type(error).__name__}); look at its room and its health")


@contextmanager
def progress_of(title: str) -> Iterator[BuildProgress]:
    """Show how far something is, where somebody looks."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task(title, total=None)

        def told(share: float, stage: str) -> None:
            shown.update(task, description=f"{title}: {stage}", total=1.0, completed=share)

        yield told


def _report(change: Change, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, **vars(change)})
    else:
        _say(change)


def _say(change: Change) -> None:
    checked = f", checked on {change.engine}" if change.engine else ""
    out.print(f"{change.name} {change.version} serves now{checked}.", markup=False)
    if change.stepped_down:
        err.print(change.stepped_down, markup=False)
