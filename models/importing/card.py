"""What is written beside a network that was imported: its card, and what was left out."""

from collections.abc import Mapping, Sequence

from models.importing.reading import Missing
from models.manifest import Manifest

CARD, LEFT_OUT = "MODEL_CARD.md", "NOT_IMPORTED.md"


def card(manifest: Manifest, *, origin: str, derived: Sequence[str], facts: Mapping[str, str]) -> str:
    """Write a card that says where each statement comes from, and what its maker still has to write."""
    known = [f"- {name}: {value}" for name, value in facts.items() if value]
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        manifest.intended_use,
        "",
        manifest.regulatory_status,
        "",
        "## Where it comes from",
        "",
        f"Imported from {origin} by `readside model import`.",
        "",
        *known,
        *(["", "Read from it:", "", *(f"- {one}" for one in derived)] if derived else []),
        "",
        "## Golden cases",
        "",
        "The cases in `golden/` are synthetic: noise around a few ellipsoids, run through the network by",
        "ONNX Runtime on the CPU when it was imported. They show that an engine computes what the network",
        "computes. They say nothing about how well the model works, nor whether the manifest describes",
        "rightly what the network was trained with.",
        "",
        "## To be written by its maker",
        "",
        "- Training data: how many patients, from where, with which scanners.",
        "- Performance: on which data, with confidence intervals.",
        "- Limits: whom and what it is not for.",
    ]
    return "\n".join(lines) + "\n"


def left_out(origin: str, missing: Sequence[Missing], differences: Sequence[str]) -> str:
    """Write down every part that was not imported, with its parameters, and every stated difference."""
    lines = [f"# Not imported from {origin}", ""]
    for one in missing:
        lines += [
            f"## {one.name}",
            "",
            f"Parameters: {one.written() or 'none'}",
            "",
            f"Why: {one.reason}.",
            "",
        ]
    if not missing:
        lines += ["Every part of the pipeline was imported.", ""]
    if differences:
        lines += ["# Imported with a difference", "", *(f"- {one}" for one in differences), ""]
    return "\n".join(lines).rstrip() + "\n"
