"""A draft of a manifest out of a MONAI bundle and its network."""

import re
from collections.abc import Mapping
from typing import Any

from models.importing.answers import merged
from models.importing.axes import with_reversed_axes
from models.importing.draft import FLAT_RANK, Draft, draft_of
from models.importing.finish import is_background
from models.importing.graph import Graph
from models.importing.monai_bundle import Bundle, plain_name

_VERSION = re.compile(r"^\d+\.\d+\.\d+$")


def draft_of_bundle(bundle: Bundle, graph: Graph) -> Draft:
    """Draw up what bundle and network say together; what cannot be said goes into the bundle's reading.

    Raises:
        GraphError: the network is none the package format can feed.
    """
    reading = bundle.reading
    if reading.reversed_axes:
        graph = with_reversed_axes(graph)
    own = draft_of(graph, file_name=f"{bundle.name}.onnx")
    parts = merged(own.parts, _about_the_model(bundle))
    parts["input"] = _input(bundle, graph, parts)
    parts["axes"] = "yx" if parts["input_rank"] == FLAT_RANK else "zyx"
    parts["prepare"] = [dict(step) for step in reading.prepare]
    _channels(bundle, parts)
    if len(parts["outputs"]) == 1:
        _output(bundle, parts)
    return Draft(
        graph=graph,
        origin=f"the MONAI bundle {bundle.name} {bundle.version}".rstrip(),
        parts={key: value for key, value in parts.items() if value not in (None, "")},
        channels=bundle.channels,
        widths=own.widths,
        derived=(*own.derived, *reading.imported, *_turned(bundle)),
    )


def _turned(bundle: Bundle) -> tuple[str, ...]:
    if not bundle.reading.reversed_axes:
        return ()
    return ("MONAI's axes (x, y, z) are turned to (z, y, x) by a Transpose before and behind the network.",)


def _about_the_model(bundle: Bundle) -> dict[str, Any]:
    known: dict[str, Any] = {
        "version": bundle.version if _VERSION.match(bundle.version) else None,
        "intended_use": bundle.intended_use,
        "modality": bundle.modality,
        "threshold": bundle.reading.threshold,
    }
    return {key: value for key, value in known.items() if value}


def _input(bundle: Bundle, graph: Graph, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the pipeline's input over the graph's: the inferer says how the image is cut up."""
    given, said = dict(parts["input"]), bundle.reading.input
    solid = parts["input_rank"] != FLAT_RANK
    left_out = {plain_name(one.name) for one in bundle.reading.missing}
    if not solid:
        given["layout"] = "image" if "size" in said or "size" in given else "slice"
    elif said.get("layout") == "patch":
        given.pop("size", None)
    else:
        given = {
            key: value for key, value in given.items() if key not in ("patch", "overlap", "batch", "size")
        }
        given["layout"] = "volume"
    if solid and "orientation" not in said and "Orientation" not in left_out:
        given["orientation"] = "source"
        bundle.reading.differences.append(
            "Orientationd: the pipeline has none, so the network takes images as a file holds them. Here "
            "that is the order of the DICOM series; a NIfTI file of it often runs the other way along y."
        )
    if bundle.format.lower() in ("hounsfield", "hu"):
        given["units"] = "HU"
    given |= said
    if graph.inputs[0].fixed(0) is not None and "batch" in given:
        given["batch"] = 1
    if solid and "spacing_mm" not in given and "Spacing" not in left_out:
        given["spacing_mm"] = []
    return given


def _channels(bundle: Bundle, parts: dict[str, Any]) -> None:
    """Feed every channel the one image, where the pipeline says so."""
    wanted, copies = parts["input_channels"], bundle.reading.copies
    if wanted == copies == 1:
        return
    if wanted == copies:
        parts["channels"] = [{"name": f"copy {number}"} for number in range(1, copies + 1)]
        return
    bundle.reading.leave_out(
        "input channels",
        {"network": wanted, "pipeline": copies},
        "the pipeline puts several images into the network's channels; a package feeds one series",
    )
    parts["channels"] = [{"name": f"channel {number}"} for number in range(1, wanted + 1)]


def _output(bundle: Bundle, parts: dict[str, Any]) -> None:
    """Lay the pipeline's answer over the graph's one output."""
    output, reading = dict(parts["outputs"][0]), bundle.reading
    said = dict(reading.output)
    masked = output.get("rank") == parts["input_rank"]
    if masked:
        kinds = {"softmax": "classes", "sigmoid": "probability"}
        if said.get("activation") in kinds:
            said["kind"] = kinds[said["activation"]]
    elif said.pop("kind", None) == "classes":
        reading.differences.append(
            "AsDiscreted: MONAI names the class with the highest score; here each label counts as present "
            "from its own threshold."
        )
    # Without an activation in the pipeline the largest channel is the same before and after one.
    if said.get("kind") == "classes":
        said.setdefault("activation", "none")
    parts["outputs"] = [output | said]
    parts.setdefault("task", "segmentation" if masked else "classification")
    parts["labels"] = _labels(bundle, said.get("kind"), masked=masked)


def _labels(bundle: Bundle, kind: str | None, *, masked: bool) -> list[dict[str, Any]]:
    labels = []
    for value, name in sorted(bundle.channels.items()):
        if masked and value == 0 and kind != "probability":
            if not is_background(name):
                bundle.reading.leave_out(
                    "channel 0",
                    {"name": name},
                    "channel 0 of channels that exclude each other is the background",
                )
            continue
        labels.append({"name": name, "value": value, "title": name})
    return labels
