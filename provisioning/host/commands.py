"""`readside provision firewall`: the files that let a box's connections through, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, out, print_json, read_config
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from provisioning.host.firewall import Firewall, UnknownName, firewall_of, nameservers_of
from provisioning.host.flows import flows_of

_RESOLV_CONF = Path("/etc/resolv.conf")
TABLE = Path("etc/nftables.d/readside.nft")
DROP_IN = "etc/systemd/system/readside-{}.service.d/20-site.conf"


def firewall(
    config: ConfigOption = DEFAULT_CONFIG,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Write the files under this folder; / for this machine.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the nftables table and the addresses of the units from the configuration."""
    site = read_config(config)
    known = _RESOLV_CONF.read_text(encoding="utf-8") if _RESOLV_CONF.is_file() else ""
    try:
        made = firewall_of(
            flows_of(site), storage_root=str(site.storage.root), nameservers=nameservers_of(known)
        )
        written = [] if out_folder is None else _write(made, out_folder)
    except UnknownName as error:
        fail(f"nobody knows the host {error}: give its address, or let this machine ask for names")
    except (DiskFault, NoSpace, PermissionError) as error:
        fail(f"the files cannot be written ({type(error).__name__}): run it as root")
    if as_json:
        print_json({"ok": True, "table": made.table, "units": made.units, "written": written})
    elif out_folder is None:
        out.print(made.table, markup=False, highlight=False)
    else:
        for path in written:
            out.print(path, markup=False)
        out.print("Now: nft -f the first, systemctl daemon-reload, systemctl restart readside.target")


def _write(made: Firewall, folder: Path) -> list[str]:
    contents = {folder / TABLE: made.table}
    contents |= {folder / DROP_IN.format(name): text for name, text in made.units.items()}
    for path, text in contents.items():
        # systemd and nft run as root, and anybody may read what they read.
        make_folder(path.parent).chmod(0o755)
        write_file(path, text.encode())
        path.chmod(0o644)
    return [str(path) for path in contents]


def add_to(app: typer.Typer) -> None:
    """Add this command to the group that the command line has for provisioning."""
    app.command("firewall")(firewall)
