"""Which points of a draft are open: what a network's file cannot say.

Promises: only what is open is asked, in the order it is best asked; whatever has a sensible value is offered
with it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from models.importing.draft import FLAT_RANK
from models.importing.questions import Question
from models.importing.toml_text import value_text
from models.manifest_outputs import MASKED

Parts = Mapping[str, Any]


def open_questions(parts: Parts, widths: Mapping[str, int]) -> list[Question]:
    """List what is still open, in the order it is best asked."""
    return [
        *_about_the_model(parts),
        *_about_the_series(parts),
        *_about_the_input(parts),
        *_about_the_outputs(parts),
        *_about_the_labels(parts, widths),
    ]


def _about_the_model(parts: Parts) -> Iterator[Question]:
    for key, words, example in (
        ("name", "What the model is called: small letters, digits and hyphens.", "liver-ct"),
        ("version", "Its version, three numbers.", "1.0.0"),
    ):
        yield Question(key=key, words=words, example=value_text(example), offered=parts[key], plain=True)
    for key, words, example in _NEEDED:
        if not parts.get(key):
            yield Question(key=key, words=words, example=value_text(example), plain=True)


_NEEDED = (
    (
        "task",
        "What it is for: classification, detection, segmentation or measurement.",
        "segmentation",
    ),
    (
        "intended_use",
        "What it may be used for, in one or two sentences. This text reaches the radiologist.",
        "Outlines the liver in portal venous CT of adults. Research use only.",
    ),
    (
        "regulatory_status",
        "Which clearance it has, or that it has none.",
        "No regulatory clearance. Research use only.",
    ),
    ("licence", "Under which licence the network may be used.", "Apache-2.0"),
)


def _about_the_series(parts: Parts) -> Iterator[Question]:
    if not parts.get("modality") and not parts.get("accepts", {}).get("when"):
        yield Question(
            key="modality",
            words="Which kind of series it takes: CT, MR, CR, DX, MG, ... (a finer condition: accepts.when).",
            example='"CT"',
            plain=True,
        )
    if _layout(parts) in ("patch", "volume", "slice") and "slices_min" not in parts.get("accepts", {}):
        yield Question(
            key="accepts.slices_min", words="How many slices it needs at least.", example="16", offered=8
        )


def _about_the_input(parts: Parts) -> Iterator[Question]:
    given = parts["input"]
    flat = parts.get("input_rank") == FLAT_RANK
    yield from _about_the_axes(parts, flat=flat)
    yield from _about_the_grid(given, flat=flat)
    if "prepare" not in parts and "window" not in parts:
        yield Question(
            key="window",
            words=(
                "Which values [low, high] were mapped to 0 and 1 in training, others held at the ends;\n"
                "[] when the network takes the values as they are. Anything else: leave this out and write\n"
                "[[prepare]] steps as a manifest has them."
            ),
            example="[-100, 300]",
        )
    copies = parts.get("input_channels", 1)
    if copies > 1 and "channels" not in parts:
        yield Question(
            key="channels",
            words=(
                f"How its {copies} channels are made: one entry each, with a name and the steps that come\n"
                "after `prepare`. Channels without steps of their own are all fed the same image."
            ),
            example=value_text([{"name": f"channel {n}"} for n in range(1, copies + 1)]),
        )


def _about_the_axes(parts: Parts, *, flat: bool) -> Iterator[Question]:
    if "axes" in parts:
        return
    yield Question(
        key="axes",
        words=(
            "In which order its axes of space stand: "
            + ('"yx" (rows, columns) or "xy" (as MONAI and NIfTI have them).' if flat else _AXES)
        ),
        example='"yx"' if flat else '"zyx"',
        plain=True,
    )


_AXES = '"zyx" (slices, rows, columns) or "xyz" (as MONAI and NIfTI have them).'


def _about_the_grid(given: Mapping[str, Any], *, flat: bool) -> Iterator[Question]:
    layout = given.get("layout")
    if layout is None:
        solid = not flat
        yield Question(
            key="input.layout",
            words="How it is fed: " + (_SOLID if solid else _FLAT),
            example='"patch"' if solid else '"slice"',
            plain=True,
        )
    # Before the layout is known, what would follow from it is named as well: nobody should be asked twice.
    if "patch" not in given and (layout == "patch" or (layout is None and not flat)):
        yield Question(
            key="input.patch",
            words=f"{_IF_PATCH if layout is None else ''}The shape of one patch (z, y, x), in voxels.",
            example="[96, 96, 96]",
        )
    if "size" not in given and (layout == "image" or (layout is None and flat)):
        yield Question(
            key="input.size",
            words=f"{_IF_IMAGE if layout is None else ''}The size images are brought to: [rows, columns].",
            example="[224, 224]",
        )
    if flat:
        return
    if "orientation" not in given:
        yield Question(
            key="input.orientation",
            words='Which way its axes (x, y, z) grow: "LPS", "RAS", or "source" for as the series lies.',
            example='"LPS"',
            plain=True,
        )
    if "spacing_mm" not in given and "size" not in given:
        yield Question(
            key="input.spacing_mm",
            words="The voxel size it was trained with, (z, y, x) in mm; [] for the series' own.",
            example="[2.0, 1.5, 1.5]",
        )


_IF_PATCH, _IF_IMAGE = 'For "patch": ', 'For "image": '
_SOLID = '"patch" (a window slid over the volume) or "volume" (all at once).'
_FLAT = '"slice" (each slice as it is) or "image" (each slice brought to one size).'


def _about_the_outputs(parts: Parts) -> Iterator[Question]:
    outputs = parts["outputs"]
    if len(outputs) > 1 and "read_outputs" not in parts:
        names = [output["tensor"] for output in outputs]
        yield Question(
            key="read_outputs",
            words="Which of its outputs are read; others are only computed.",
            example=value_text(names[:1]),
            offered=names,
        )
    for output in outputs:
        kind = output.get("kind") or _kind_by_task(parts.get("task"), output)
        where = "output" if len(outputs) == 1 else f"outputs.{output['tensor']}"
        if kind is None:
            yield Question(
                key=f"{where}.kind",
                words=f"What the channels of {output['tensor']} are: {_KINDS}",
                example='"classes"',
                plain=True,
            )
        elif kind == "boxes":
            yield from _about_boxes(where, output)
        if kind in _ACTIVATIONS and "activation" not in output:
            yield Question(
                key=f"{where}.activation",
                words=(
                    f"{_IF_SCORES if kind == _UNKNOWN else ''}What turns {output['tensor']} into "
                    "probabilities: none (it gives them already), sigmoid or softmax."
                ),
                example='"softmax"' if kind == "classes" else '"sigmoid"',
                # The largest stays the largest; anywhere else twice, or not at all, would be wrong.
                offered="softmax" if kind == "classes" else None,
                plain=True,
            )


_KINDS = '"classes" (one excludes the other, the largest wins) or "probability" (each by itself).'
_UNKNOWN, _IF_SCORES = "unknown", "For a classification: "
_ACTIVATIONS = ("classes", "probability", "scores", _UNKNOWN)


def _kind_by_task(task: str | None, output: Mapping[str, Any]) -> str | None:
    """A row of numbers for each image is scores or values; only the task tells which."""
    if output.get("rank") != 2:
        return None
    return {"classification": "scores", "measurement": "values"}.get(task or "", _UNKNOWN)


def _about_boxes(where: str, output: Mapping[str, Any]) -> Iterator[Question]:
    if "coordinates" not in output:
        yield Question(
            key=f"{where}.coordinates",
            words="What the numbers of a box are: yxyx, xyxy, cxcywh, zyxzyx or xyzxyz.",
            example='"xyxy"',
            plain=True,
        )
    if "scale" not in output:
        yield Question(
            key=f"{where}.scale",
            words='Whether they count "pixels" of what the network is fed, or are a "share" of its size.',
            example='"pixels"',
            offered="pixels",
            plain=True,
        )


def _about_the_labels(parts: Parts, widths: Mapping[str, int]) -> Iterator[Question]:
    lists = {"quantities" if output.get("kind") == "values" else "labels" for output in parts["outputs"]}
    if any("labels" in output or "quantities" in output for output in parts["outputs"]):
        return
    for key in sorted(lists):
        entries = parts.get(key, [])
        if not entries:
            yield Question(key=key, words=_LISTS[key][0] + _width_words(widths), example=_LISTS[key][1])
            continue
        masked = any(output.get("kind") in MASKED for output in parts["outputs"])
        for number, entry in enumerate(entries, start=1):
            yield from _about_one(f"{key}[{number}]", key, entry, masked=masked)


def _about_one(where: str, key: str, entry: Mapping[str, Any], *, masked: bool) -> Iterator[Question]:
    for wanted, words, example in _CODES[key]:
        if not entry.get(wanted) and (masked or wanted != "category"):
            yield Question(
                key=f"{where}.{wanted}",
                words=f"{words} of {entry.get('name', 'it')!r}: a code's value, scheme and meaning.",
                example=example,
                plain=True,
            )


def _width_words(widths: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} has {width} channels" for name, width in widths.items())
    return f"\n({listed}, numbered from 0.)" if listed else ""


_CODES = {
    "labels": (
        ("type", "The finding or structure", '"78961009 SCT Spleen"'),
        ("category", "The category (anatomy, lesion, tissue or substance)", '"anatomy"'),
    ),
    "quantities": (
        ("concept", "What is measured", '"439984002 SCT Diameter"'),
        ("unit", "The UCUM unit", '"mm UCUM mm"'),
    ),
}
_LISTS = {
    "labels": (
        "What each channel (or number of a label map) means. `type` is a coded concept; `category` is\n"
        "anatomy, lesion, tissue, substance or a coded concept. Channel 0 of channels that exclude each\n"
        "other is the background.",
        'name = "spleen"\nvalue = 1\ntitle = "spleen"\ntype = "78961009 SCT Spleen"\ncategory = "anatomy"',
    ),
    "quantities": (
        "What each number means, with its coded name and UCUM unit.",
        'name = "diameter"\nvalue = 0\ntitle = "diameter"\nconcept = "439984002 SCT Diameter"\n'
        'unit = "mm UCUM mm"',
    ),
}


def _layout(parts: Parts) -> str | None:
    layout: str | None = parts["input"].get("layout")
    return layout
