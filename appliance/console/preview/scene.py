"""All that a browser needs beside the pixels: images, marks, segments, presets, and where to begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from appliance.console.limits import Limits
from appliance.console.preview import masks as segmentation
from appliance.console.preview import tree
from appliance.console.preview.masks import Masks
from appliance.console.preview.objects import opened
from appliance.console.preview.stack import Stack
from appliance.console.preview.stored import Damaged, Gone, Stored
from appliance.console.preview.tree import Mark
from appliance.console.text import one_line
from appliance.core.instance import Location
from appliance.ledger.results import ResultObject

# Of several objects with the same content one is shown: the first of these that was made.
_REPORTS = ("sr", "sr-cornerstone")
_SEGMENTATIONS = ("seg", "seg-labelmap", "seg-fractional")
_HU_PRESETS = (
    ("Brain", 40, 80), ("Subdural", 75, 215), ("Stroke", 32, 8), ("Soft tissue", 40, 400),
    ("Lung", -600, 1500), ("Bone", 480, 2500),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What lies over the images of one result; `notes` say what should and does not."""

    stack: Stack
    marks: Sequence[Mark]
    marks_left_out: int
    masks: Masks | None
    notes: Sequence[str]
    first: int

    def as_dict(self, absent: AbstractSet[Location]) -> dict[str, Any]:
        """Return the scene as JSON values; images are counted from 1, and those `absent` said to be gone."""
        return {
            "images": [
                {
                    "number": place.number,
                    "along_mm": place.along_mm,
                    "here": place.instance.location not in absent,
                }
                for place in self.stack.places
            ],
            "first": self.first + 1,
            "marks": [_mark(mark) for mark in self.marks],
            "marks_left_out": self.marks_left_out,
            "segments": []
            if self.masks is None
            else [_segment(self.masks, one) for one in self.masks.segments],
            "hu_presets": [{"name": name, "centre": c, "width": w} for name, c, w in _HU_PRESETS],
            "notes": list(self.notes),
        }


def scene_of(stack: Stack, objects: Sequence[ResultObject], stored: Stored, limits: Limits) -> Scene:
    """Read a result's frozen objects."""
    notes: list[str] = []
    marks, left_out = _marks(objects, stack, notes, stored=stored, limits=limits)
    found = _masks(objects, stack, notes, stored=stored, limits=limits)
    return Scene(
        stack=stack,
        marks=marks,
        marks_left_out=left_out,
        masks=found,
        notes=notes,
        first=_first(stack, marks, found),
    )


def _marks(
    objects: Sequence[ResultObject], stack: Stack, notes: list[str], *, stored: Stored, limits: Limits
) -> tuple[list[Mark], int]:
    item = _chosen(objects, _REPORTS, tree.CLASSES)
    if item is None:
        return [], 0
    try:
        report = opened(item, stored, bytes_max=limits.preview_object_bytes_max).header
    except (Gone, Damaged, OSError):
        notes.append("The report's stored bytes are gone or damaged: its marks are not shown.")
        return [], 0
    return tree.marks_of(report, stack, limits)


def _masks(
    objects: Sequence[ResultObject], stack: Stack, notes: list[str], *, stored: Stored, limits: Limits
) -> Masks | None:
    item = _chosen(objects, _SEGMENTATIONS, segmentation.CLASSES)
    if item is None:
        return None
    try:
        found = segmentation.masks_of(
            opened(item, stored, bytes_max=limits.preview_object_bytes_max), stack, limits
        )
    except (Gone, Damaged, OSError):
        notes.append("The segmentation's stored bytes are gone or damaged: its outlines are not shown.")
        return None
    if found.kind == "FRACTIONAL":
        notes.append("The segmentation holds probabilities; its outlines run where they reach one half.")
    if found.strays:
        notes.append(f"{found.strays} frames of the segmentation lie on no image of this series.")
    return found


def _chosen(
    objects: Sequence[ResultObject], outputs: Sequence[str], classes: frozenset[str]
) -> ResultObject | None:
    fitting = [item for item in objects if item.output in outputs and item.sop_class_uid in classes]
    return min(fitting, key=lambda item: outputs.index(item.output), default=None)


def _first(stack: Stack, marks: Sequence[Mark], masks: Masks | None) -> int:
    """Choose where to begin: at the first region, else amid a segment, at a point, in the middle."""
    for mark in marks:
        if mark.encloses:
            return mark.shapes[0].image
    if masks is not None and masks.frames:
        on = sorted(masks.frames)
        return on[len(on) // 2]
    pointed = [mark.shapes[0].image for mark in marks if mark.shapes]
    return pointed[0] if pointed else len(stack.places) // 2


def _mark(mark: Mark) -> dict[str, Any]:
    return {
        "label": mark.label,
        "finding": mark.finding,
        "numbers": mark.numbers,
        "words": mark.words,
        "segment": mark.segment,
        "shapes": [
            {"image": shape.image + 1, "kind": shape.kind, "points": shape.points} for shape in mark.shapes
        ],
    }


def _segment(masks: Masks, segment: segmentation.Segment) -> Mapping[str, Any]:
    return {
        "number": segment.number,
        "label": one_line(segment.label),
        "colour": segment.colour_rgb,
        "images": [at + 1 for at in masks.images_of(segment.number)],
    }
