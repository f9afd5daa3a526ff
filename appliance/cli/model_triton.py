"""`readside model export-triton`: a package's network in a model repository of a Triton server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import JsonOption, fail, out, print_json
from appliance.inference.engine import InferenceError
from appliance.inference.kserve.contract import folder_of
from appliance.inference.kserve.export import Batching, export
from models.package import PackageError, open_package

_PLAIN = Batching()


def export_triton(
    folder: Annotated[Path, typer.Argument(help="The package: a folder.")],
    repository: Annotated[Path, typer.Argument(help="The server's model repository.")],
    cases_max: Annotated[
        int, typer.Option(min=1, max=4096, help="Most slices or patches the server puts into one call.")
    ] = _PLAIN.cases_max,
    wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long the server holds a call for others to join it.")
    ] = _PLAIN.wait_ms,
    as_json: JsonOption = False,
) -> None:
    """Write a package's network into a Triton model repository, so that the kserve engine finds it there."""
    batching = Batching(
        cases_max=cases_max, cases_preferred=min(_PLAIN.cases_preferred, cases_max), wait_ms=wait_ms
    )
    try:
        package = open_package(folder)
        written = export(package, repository, batching=batching)
    except PackageError as error:
        fail("; ".join(error.faults))
    except InferenceError as error:
        fail(error.sentence)
    except OSError as error:
        fail(f"{repository} cannot be written: {error.strerror}")
    version = folder_of(package.manifest.version)
    if as_json:
        print_json({"ok": True, "model": package.manifest.name, "version": version, "digest": package.digest})
        return
    out.print(
        f"{written / version} written: {package.manifest.name} {package.manifest.version}.", markup=False
    )
