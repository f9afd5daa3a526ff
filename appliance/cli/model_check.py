"""Check a package: every fault at once, then its golden cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import JsonOption, err, out, print_json
from models.manifest import ManifestError
from models.package import PackageError, open_package


def check(
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
