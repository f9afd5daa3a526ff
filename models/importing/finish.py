"""Make a whole manifest of a draft and its answers.

Promises: what comes out is what the manifest's own reader accepts, or every fault it found in that reader's
words. Never: hides a default that matters; each one stands in the manifest that is written.
"""

from collections.abc import Mapping
from typing import Any

from models.importing.answers import AnswersError
from models.importing.concepts import colour, expanded
from models.importing.toml_text import written
from models.manifest import Manifest, ManifestError, parse
from models.manifest_outputs import MASKED

_ORDER = tuple(Manifest.model_fields)
_BACKGROUND = ("background", "bg", "none", "other")


def finished(
    parts: Mapping[str, Any], *, widths: Mapping[str, int] | None = None, named: str = "answers"
) -> tuple[str, Manifest]:
    """Give the manifest as TOML and as read back.

    Raises:
        AnswersError: it does not hold; every fault is listed, in the manifest's words.
    """
    whole = dict(parts)
    short = {key: whole.pop(key, None) for key in ("modality", "window", "threshold", "labels", "quantities")}
    findings = whole.pop("findings", None)
    for key in ("axes", "read_outputs", "input_channels", "input_rank"):
        whole.pop(key, None)
    _series(whole, short["modality"])
    _prepare(whole, short["window"])
    _outputs(whole, short["labels"], short["quantities"])
    for output in whole["outputs"]:
        _say_width(output, (widths or {}).get(output["tensor"]))
    if "interpret" not in whole:
        whole["interpret"] = _interpret(whole, short["threshold"], findings)
    if len(whole["outputs"]) == 1:
        whole["output"] = whole.pop("outputs")[0]
    text = written({key: whole[key] for key in _ORDER if key in whole})
    try:
        return text, parse(text)
    except ManifestError as error:
        raise AnswersError([f"{named}: {fault}" for fault in error.faults]) from error


def _series(whole: dict[str, Any], modality: str | None) -> None:
    accepts = dict(whole.get("accepts", {}))
    if modality and "when" not in accepts:
        accepts["when"] = f'Modality == "{modality}"'
    solid = whole["input"].get("layout") in ("patch", "volume")
    accepts.setdefault("geometry", "regular" if solid else "any")
    whole["accepts"] = {key: accepts[key] for key in ("when", "geometry", *accepts) if key in accepts}
    given = dict(whole["input"])
    if "units" not in given and modality:
        given["units"] = "HU" if modality == "CT" else ""
    if given.get("spacing_mm") == []:
        del given["spacing_mm"]
    whole["input"] = given


def _prepare(whole: dict[str, Any], window: Any) -> None:
    """Write the short form of a window as steps, and resample where a grid is named."""
    steps = list(whole.get("prepare", ()))
    given = whole["input"]
    resized = given.get("layout") == "volume" and "size" in given
    if ("spacing_mm" in given or resized) and not any(step.get("step") == "resample" for step in steps):
        # Where values are changed first, the maker says so with a step of his own.
        first = next((n for n, step in enumerate(steps) if step.get("step") != "fill-padding"), len(steps))
        steps.insert(first, {"step": "resample"})
    if isinstance(window, list) and len(window) == 2:
        low, high = window
        steps += [{"step": "clip", "low": low, "high": high}, {"step": "scale", "low": low, "high": high}]
    if steps:
        whole["prepare"] = steps


def _outputs(whole: dict[str, Any], labels: Any, quantities: Any) -> None:
    """Hand labels and quantities to the output they belong to, and fill in how they are shown."""
    outputs = [dict(output) for output in whole["outputs"]]
    for output in outputs:
        rank = output.pop("rank", None)
        if "kind" not in output and rank == 2:
            output["kind"] = "values" if whole.get("task") == "measurement" else "scores"
        key = "quantities" if output.get("kind") == "values" else "labels"
        given = quantities if key == "quantities" else labels
        if given and key not in output:
            output[key] = _belonging(given, output, alone=len(outputs) == 1)
        if key in output:
            output[key] = [_shown(one, key, output) for one in output[key]]
        if output.get("activation") == "none":
            del output["activation"]
    whole["outputs"] = outputs


def _say_width(output: dict[str, Any], width: int | None) -> None:
    """Say how many channels there are, where the labels do not reach the last."""
    named = output.get("labels") or output.get("quantities") or ()
    values = [one["value"] for one in named if isinstance(one.get("value"), int)]
    if width and values and max(values) + 1 < width and output.get("kind") != "labels":
        output.setdefault("channels", width)


def _belonging(entries: Any, output: Mapping[str, Any], *, alone: bool) -> list[dict[str, Any]]:
    named = output.get("name") or output["tensor"]
    return [
        {key: value for key, value in entry.items() if key != "output"}
        for entry in entries
        if isinstance(entry, Mapping) and (alone or entry.get("output") == named)
    ]


def _shown(entry: Mapping[str, Any], key: str, output: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in a title, and for masks a category and a colour; the parts a reader sees first come first."""
    shown = {"title": str(entry.get("name", ""))} | expanded(entry)
    if key == "labels" and output.get("kind") in MASKED:
        value = shown.get("value")
        shown.setdefault("colour_rgb", colour(value if isinstance(value, int) else 1))
    first = ("name", "value", "title")
    return {key: shown[key] for key in (*first, *(one for one in shown if one not in first)) if key in shown}


def _interpret(whole: Mapping[str, Any], threshold: Any, findings: Any) -> list[dict[str, Any]]:
    """Choose the step that fits each output's kind."""
    steps = []
    for output in whole["outputs"]:
        step: dict[str, Any] = {"step": _STEPS.get(output.get("kind"), "class-map")}
        if whole.get("task") == "detection" and output.get("kind") == "probability":
            steps += [
                {"step": "components", "output": _called(whole, output), "label": label.get("name")}
                | ({"threshold": threshold} if threshold else {})
                for label in output.get("labels", ())
            ]
            continue
        step["output"] = _called(whole, output)
        if threshold and output.get("kind") in ("scores", "boxes", "probability"):
            step["threshold"] = threshold
        if findings and step["step"] == "class-map":
            step["findings"] = list(findings)
        steps.append(step)
    return [{key: value for key, value in step.items() if value is not None} for step in steps]


_STEPS = {"scores": "classify", "values": "measure", "boxes": "detect"}


def _called(whole: Mapping[str, Any], output: Mapping[str, Any]) -> str | None:
    """Name the output where there are several."""
    if len(whole["outputs"]) == 1:
        return None
    name: str = output.get("name") or output["tensor"]
    return name


def is_background(name: str) -> bool:
    """Tell a channel that stands for nothing."""
    return name.strip().lower() in _BACKGROUND
