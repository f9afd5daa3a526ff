"""Make a package out of a bare ONNX file or a MONAI bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.model_asking import asked_for, at_a_terminal, complete, refuse, with_file
from appliance.cli.model_making import Made, make
from appliance.cli.terms import FAILED, JsonOption, err, out, print_json
from models.importing.answers import AnswersError
from models.importing.axes import with_reversed_axes
from models.importing.card import LEFT_OUT, left_out
from models.importing.draft import Draft, draft_of
from models.importing.finish import finished
from models.importing.graph import Graph, GraphError, read_graph
from models.importing.monai_bundle import Bundle, read_bundle
from models.importing.monai_config import BundleError
from models.importing.monai_draft import draft_of_bundle
from models.importing.reading import Missing

OutOption = Annotated[Path | None, typer.Option("--out", help="The new folder the package is written to.")]
AnswersOption = Annotated[
    Path | None, typer.Option("--answers", help="A TOML file that answers what would be asked.")
]
QuestionsOption = Annotated[
    bool, typer.Option("--questions", help="Print what would be asked as TOML to fill in, and end.")
]


def import_onnx(
    file: Annotated[Path, typer.Argument(help="The network, an ONNX file.")],
    target: OutOption = None,
    answers: AnswersOption = None,
    questions: QuestionsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a package of an ONNX file: what it says itself is read from it, and only the rest is asked."""
    graph = _graph(file)
    draft = _drafted(graph, file.name)
    parts = with_file(draft.parts, answers)
    if questions:
        typer.echo(asked_for(draft, parts), nl=False)
        return
    parts = complete(draft, parts, ask=at_a_terminal(answers) and not as_json, as_json=as_json)
    if str(parts.get("axes")) in ("xyz", "xy"):
        draft, parts = _turned(draft, parts, answers, file.name)
    made = _made(draft, parts, target, texts={}, facts={"File": file.name})
    _report(made, as_json=as_json)
    if made.faults:
        raise typer.Exit(FAILED)


def import_monai(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    target: OutOption = None,
    network: Annotated[
        Path | None, typer.Option("--onnx", help="Its network, where it does not lie in models/.")
    ] = None,
    answers: AnswersOption = None,
    questions: QuestionsOption = False,
    accept_missing: Annotated[
        list[str] | None,
        typer.Option("--accept-missing", help="A part that may be left out, by name; once for each."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a package of a MONAI bundle; what the package format cannot express is listed, never dropped."""
    read = _bundle(bundle, network)
    draft = _bundle_draft(read)
    parts = with_file(draft.parts, answers)
    if questions:
        typer.echo(asked_for(draft, parts), nl=False)
        return
    parts = complete(draft, parts, ask=at_a_terminal(answers) and not as_json, as_json=as_json)
    missing, differences = read.reading.missing, read.reading.differences
    texts = {LEFT_OUT: left_out(draft.origin, missing, differences)} if missing or differences else {}
    facts = {
        "Bundle": f"{read.name} {read.version}",
        "Description": read.description,
        "Rights": read.copyright,
    }
    made = _made(draft, parts, target, texts=texts, facts=facts)
    open_points = [one for one in missing if one.name not in (accept_missing or [])]
    _report(made, as_json=as_json, missing=missing, differences=differences, open_points=open_points)
    if made.faults or open_points:
        raise typer.Exit(FAILED)


def _graph(file: Path) -> Graph:
    try:
        return read_graph(file)
    except GraphError as error:
        refuse(error.faults, code=FAILED)


def _drafted(graph: Graph, file_name: str) -> Draft:
    try:
        return draft_of(graph, file_name=file_name)
    except GraphError as error:
        refuse(error.faults, code=FAILED)


def _bundle(folder: Path, network: Path | None) -> Bundle:
    try:
        read = read_bundle(folder, network=network)
    except BundleError as error:
        refuse(error.faults, code=FAILED)
    if read.network is None:
        refuse(["the bundle holds no models/*.onnx: export its network, and name the file with --onnx"])
    return read


def _bundle_draft(read: Bundle) -> Draft:
    assert read.network is not None, "asked for above"
    graph = _graph(read.network)
    try:
        return draft_of_bundle(read, graph)
    except GraphError as error:
        refuse(error.faults, code=FAILED)


def _turned(
    draft: Draft, parts: Mapping[str, Any], answers: Path | None, file_name: str
) -> tuple[Draft, dict[str, Any]]:
    """Draw the draft up anew with the axes turned; sizes the graph fixes turn with them."""
    turned = _drafted(with_reversed_axes(draft.graph), file_name)
    whole = dict(parts)
    said = with_file({"input": {}, "outputs": []}, answers)["input"]
    sizes = {key: turned.parts["input"][key] for key in ("patch", "size") if key in turned.parts["input"]}
    whole["input"] = whole["input"] | {key: size for key, size in sizes.items() if key not in said}
    return turned, whole


def _made(
    draft: Draft,
    parts: Mapping[str, Any],
    target: Path | None,
    *,
    texts: Mapping[str, str],
    facts: Mapping[str, str],
) -> Made:
    """Write the package, or end with what is wrong with the answers."""
    if target is None:
        refuse(["say with --out where the package goes"])
    try:
        text, manifest = finished(parts, widths=draft.widths)
    except AnswersError as error:
        refuse(error.faults)
    modality = str(parts.get("modality") or "OT")
    return make(target, draft, manifest=manifest, text=text, texts=texts, facts=facts, modality=modality)


def _report(
    made: Made,
    *,
    as_json: bool,
    missing: list[Missing] | None = None,
    differences: list[str] | None = None,
    open_points: list[Missing] | None = None,
) -> None:
    if as_json:
        print_json(
            {
                "ok": not made.faults and not open_points,
                "folder": str(made.folder),
                "faults": list(made.faults),
                "hints": list(made.hints),
                "missing": [
                    {"name": one.name, "parameters": one.written(), "reason": one.reason}
                    for one in missing or ()
                ],
                "differences": differences or [],
            }
        )
        return
    for one in missing or ():
        err.print(f"not imported: {one.name}({one.written()}): {one.reason}", markup=False)
    for sentence in differences or ():
        err.print(f"with a difference: {sentence}", markup=False)
    for fault in made.faults:
        err.print(fault, markup=False)
    for hint in made.hints:
        err.print(f"for your information: {hint}", markup=False)
    names = " ".join(f"--accept-missing {one.name!r}" for one in open_points or ())
    if names:
        err.print(f"Say that these may be missing: {names}", markup=False)
    out.print(f"{made.folder} written. Read its manifest and its card before anyone uses it.", markup=False)
