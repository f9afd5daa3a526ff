"""`readside conformance` and `readside provision papers`: the papers of one box."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, out, print_json, read_config
from appliance.core.config import Config
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from provisioning.host.flows import flows_of
from provisioning.papers.conformance import conformance_statement
from provisioning.papers.hazards import hazard_table
from provisioning.papers.mds2 import mds2
from provisioning.papers.ports import firewall_request, port_list
from provisioning.papers.sbom import bill_of_materials

_PRODUCT = "readside"


def conformance(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the DICOM Conformance Statement of a configuration, as Markdown."""
    typer.echo(conformance_statement(read_config(config), version(_PRODUCT)), nl=False)


def papers(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the papers.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write what a hospital asks for: conformance statement, ports, firewall request, MDS2, SBOM, hazards."""
    made = papers_of(read_config(config), version(_PRODUCT))
    try:
        for name, text in made.items():
            write_file(make_folder(out_folder) / name, text.encode())
    except (DiskFault, NoSpace) as error:
        fail(f"{out_folder} cannot be written to ({type(error).__name__})")
    if as_json:
        print_json({"ok": True, "papers": sorted(made)})
        return
    for name in made:
        out.print(f"{out_folder / name}", markup=False)


def papers_of(config: Config, made_by: str) -> dict[str, str]:
    """Return each paper under its file name."""
    flows, name = flows_of(config), config.site.name
    bill = bill_of_materials(_PRODUCT, made_by)
    return {
        "conformance-statement.md": conformance_statement(config, made_by),
        "ports.md": port_list(name, flows, made_by),
        "firewall-request.md": firewall_request(name, flows, made_by),
        "mds2.md": mds2(config, made_by),
        "hazards.md": hazard_table(made_by),
        "sbom.cdx.json": json.dumps(bill, indent=1) + "\n",
    }


def add_to(app: typer.Typer) -> None:
    """Add the command of all papers to the group that the command line has for provisioning."""
    app.command("papers")(papers)
