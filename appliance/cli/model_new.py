"""Begin a package from nothing, and record golden cases for one that was written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.model_asking import refuse
from appliance.cli.model_faults import faults_of
from appliance.cli.model_making import RECORDING, empty_folder, reason_of, record
from appliance.cli.terms import BAD_USE, FAILED, err, fail, out
from models.importing.graph import GraphError, read_graph
from models.importing.skeleton import TASKS, skeleton
from models.manifest import ManifestError, load
from models.package import GOLDEN, MANIFEST

_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$")


def new(
    name: Annotated[str, typer.Argument(help="What the model is called: small letters, digits, hyphens.")],
    task: Annotated[str, typer.Option("--task", help=f"One of {', '.join(TASKS)}.")],
    target: Annotated[
        Path | None, typer.Option("--out", help="The new folder; the name, beside you, unless said.")
    ] = None,
) -> None:
    """Write a package folder that says in comments what to fill in; `model check` names what is missing."""
    kind = next((known for known in TASKS if known == task), None)
    if kind is None:
        fail(f"{task!r} is no task; it is one of {', '.join(TASKS)}", code=BAD_USE)
    if not _NAME.match(name):
        fail("a name has 2 to 64 small letters, digits and hyphens, none at its ends", code=BAD_USE)
    folder = empty_folder(target or Path(name))
    for file, text in skeleton(name, kind).items():
        (folder / file).write_text(text, encoding="utf-8")
    out.print(f"{folder} written. Fill in its manifest, put model.onnx beside it, then:", markup=False)
    out.print(f"  readside model check {folder}", markup=False)


def record_cases(
    folder: Annotated[Path, typer.Argument(help="A package folder with manifest and network.")],
    modality: Annotated[str, typer.Option(help="What the synthetic series is said to be.")] = "OT",
) -> None:
    """Run synthetic series through the network and keep input and answer as golden cases."""
    if any((folder / GOLDEN).glob("*.npz")):
        fail(f"{folder}/{GOLDEN} holds cases already; take away what is to be replaced", code=BAD_USE)
    try:
        manifest = load(folder / MANIFEST)
        graph = read_graph(folder / manifest.network)
    except ManifestError as error:
        refuse([f"{MANIFEST}: {fault}" for fault in error.faults], code=FAILED)
    except GraphError as error:
        refuse(error.faults, code=FAILED)
    try:
        memory_mib = record(folder, manifest, graph, modality=modality)
    except RECORDING as error:
        fail(f"no golden case: {reason_of(error)}")
    if memory_mib > manifest.resources.memory_mib:
        err.print(f"it needed about {memory_mib} MiB; resources.memory_mib says less", markup=False)
    faults = faults_of(folder).faults
    if faults:
        refuse(faults, code=FAILED)
    out.print(f"{folder} has its golden cases, and is sound.", markup=False)
