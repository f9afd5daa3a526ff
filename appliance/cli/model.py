"""Commands about model packages: list, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, err, out, print_json, read_config
from appliance.core.packages import find_packages
from models.manifest import ManifestError
from models.package import PackageError, open_package

app = typer.Typer(name="model", help="Work with model packages.", no_args_is_help=True)


@app.command("list")
def list_models(
    config: Annotated[Path | None, typer.Option("--config", help="Also the packages of this site.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the packages on this box: those that ship with Readside, and the site's own."""
    folders = () if config is None else read_config(config).models.folders
    packages, faults = find_packages(folders)
    rows = [
        {
            "name": p.manifest.name,
            "version": p.manifest.version,
            "task": str(p.manifest.task),
            "digest": p.digest,
            "intended_use": p.manifest.intended_use,
        }
        for p in packages.values()
    ]
    if as_json:
        print_json({"models": rows, "faults": faults})
        return
    table = Table("name", "version", "task", "digest", "intended use", box=None)
    for row in rows:
        table.add_row(row["name"], row["version"], row["task"], row["digest"][:19], row["intended_use"])
    out.print(table)
    for fault in faults:
        err.print(fault, markup=False)


@app.command("check")
def check_model(
    folder: Annotated[Path, typer.Argument(help="A package: a folder or a zip of it.")],
    as_json: JsonOption = False,
) -> None:
    """Report every fault of a package at once, then run its golden cases on ONNX Runtime's CPU engine."""
    faults = _faults(folder)
    if as_json:
        print_json({"ok": not faults, "faults": faults})
    elif faults:
        for fault in faults:
            err.print(fault, markup=False)
    else:
        out.print(f"{folder} is sound, and its golden cases agree.")
    if faults:
        raise typer.Exit(1)


def _faults(folder: Path) -> list[str]:
    from appliance.inference.choose import open_engine
    from appliance.inference.engine import InferenceError

    try:
        package = open_package(folder)
        engine, _ = open_engine(package, ["cpu"])
    except (PackageError, ManifestError) as error:
        return list(error.faults)
    except InferenceError as error:
        return [error.sentence]
    engine.unload()
    return []
