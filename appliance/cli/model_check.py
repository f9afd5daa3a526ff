"""Check a package: every fault at once; and pack it when it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.model_faults import Findings, faults_of
from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json, read_config
from appliance.sync.proof import room_bytes
from models.package import PackageError, pack


def check(
    folder: Annotated[Path, typer.Argument(help="A package: a folder or a zip of it.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Also hold its memory need against this site's budget.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Report every fault of a package at once, then run its golden cases on ONNX Runtime's CPU engine."""
    found = faults_of(folder, budget_bytes=_budget_bytes(config))
    if as_json:
        print_json(
            {
                "ok": not found.faults,
                "faults": list(found.faults),
                "network": list(found.hints),
                "digest": found.digest,
            }
        )
    else:
        show(folder, found)
    if found.faults:
        raise typer.Exit(1)


def show(folder: Path, found: Findings) -> None:
    """Print what a check found."""
    for fault in found.faults:
        err.print(fault, markup=False)
    for hint in found.hints:
        err.print(f"for your information: {hint}", markup=False)
    if not found.faults:
        out.print(f"{folder} is sound, and its golden cases agree.", markup=False)


def pack_package(
    folder: Annotated[Path, typer.Argument(help="A package folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write.")],
) -> None:
    """Write a package folder as one zip; the same folder always gives the same bytes."""
    if target.exists():
        fail(f"{target} is there already", code=BAD_USE)
    if target.resolve().is_relative_to(folder.resolve()):
        fail("the zip would lie inside the package; name a place outside it", code=BAD_USE)
    try:
        pack(folder, target)
    except PackageError as error:
        show(folder, Findings(faults=tuple(error.faults)))
        raise typer.Exit(1) from error
    out.print(f"{target} written ({target.stat().st_size} bytes).", markup=False)


def _budget_bytes(config: Path | None) -> int | None:
    return None if config is None else room_bytes(read_config(config))
