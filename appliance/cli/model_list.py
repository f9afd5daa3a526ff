"""List the packages on a box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, err, out, print_json, read_config
from appliance.core.packages import find_packages


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
