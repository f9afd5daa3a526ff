"""Commands that get images out of a box's spool when nothing of the box runs any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.terms import JsonOption, fail, out, print_json
from appliance.core.clock import as_text
from appliance.disk.durable import DiskFault, NoSpace, make_folder
from appliance.spool.extract import Found, instances_in

app = typer.Typer(
    name="spool", help="Look into a spool folder, and get its images out.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Argument(help="storage.root of a box, or any folder below it.")]


@app.command("list")
def list_instances(folder: Folder, as_json: JsonOption = False) -> None:
    """List every image that lies in a spool folder, with what the box noted of it."""
    with _readable(folder):
        listed = [_line(found) for found in instances_in(folder)]
    if as_json:
        print_json({"instances": listed})
        return
    for line in listed:
        out.print("  ".join(str(value) for value in line.values()), markup=False)
    out.print(f"{len(listed)} images.")


@app.command("extract")
def extract(
    folder: Folder,
    to: Annotated[Path, typer.Option("--out", help="Where the DICOM files go.")],
    as_json: JsonOption = False,
) -> None:
    """Write every image of a spool folder as a DICOM file of its own. The spool itself is left as it is."""
    done, damaged = 0, []
    with _readable(folder):
        make_folder(to)
        for found in instances_in(folder):
            done += 1
            written = found.copy_to(to)
            if not found.is_whole():
                damaged.append(written.name)
    if as_json:
        print_json({"images": done, "damaged": damaged})
    else:
        out.print(f"{done} images written.")
        for name in damaged:
            out.print(f"{name}: its bytes are not those that were received", markup=False)
    if damaged:
        raise typer.Exit(1)


def _line(found: Found) -> dict[str, Any]:
    record = found.record
    return {
        "file": found.path.name,
        "offset": found.at,
        "bytes": record.length,
        "received_at": as_text(record.received_at),
        "calling_ae": record.calling_ae,
        "sop_instance_uid": record.sop_instance_uid,
    }


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        fail(f"{folder} is no folder")
    try:
        yield
    except (NoSpace, DiskFault) as fault:
        fail(f"the disk: {fault}")
    except OSError as error:
        fail(f"the disk: {error.strerror}")
