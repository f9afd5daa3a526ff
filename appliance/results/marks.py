"""What a picture of a slice shows: its regions, the numbers that belong to them, and who says so.

Promises: the burnt-in picture, the presentation state and the printed page show the same regions in the same
colours and say the same words.
Never: encodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from appliance.results import wording
from appliance.results.context import ResultContext
from appliance.results.limits import DEFAULT
from appliance.results.picture import Line, Rgb, Shape
from appliance.results.slices import SlicePlace
from appliance.results.subjects import largest_slice, written_segments
from models.findings import Findings
from models.tensors import Volume

_LESION_RGB = (255, 60, 60)


def key_slices(findings: Findings, volume: Volume) -> list[int]:
    """Choose the slices to show: where lesions, then segments are largest; at least one, none twice.

    All of them: how many become pictures is for whoever draws to say.
    """
    wanted = [lesion.slice_index for lesion in findings.lesions]
    wanted += [largest_slice(segment) for segment in written_segments(findings)]
    return list(dict.fromkeys(wanted)) or [len(volume.voxels) // 2]


def pictured(drawn: int, *, wanted: int) -> list[str]:
    """Say how many key slices have no picture; nothing where all have one."""
    if drawn >= wanted:
        return []
    return [f"Pictured are {drawn} of {wanted} key slices, those of the largest or likeliest first."]


def shapes(findings: Findings, volume: Volume, *, index: int) -> list[Shape]:
    """List the regions of one slice: segments, then the listed lesions with their labels."""
    made = [
        Shape(mask=segment.mask[index], colour=segment.colour_rgb) for segment in written_segments(findings)
    ]
    return [*made, *lesion_shapes(findings, volume, index=index)]


def lesion_shapes(findings: Findings, volume: Volume, *, index: int) -> list[Shape]:
    """List the lesions on one slice, those beyond the bound of listed ones left out."""
    _, rows, columns = volume.shape
    return [
        Shape(
            mask=lesion.plane(index, rows=rows, columns=columns),
            colour=colour_of(findings, lesion.segment),
            tag=lesion.label,
        )
        for lesion in findings.lesions[: DEFAULT.lesion_groups_max]
        if index in lesion.slice_range
    ]


def colour_of(findings: Findings, label: str) -> Rgb:
    """Give the colour of a label's segment; red for a lesion whose segment is not written."""
    return next((s.colour_rgb for s in findings.segments if s.label == label), _LESION_RGB)


def legend(findings: Findings, volume: Volume, *, index: int) -> list[Line]:
    """List what a slice shows and all other numbers, coloured where an outline belongs to it."""
    lines = [
        Line(text=wording.lesion(lesion), colour=colour_of(findings, lesion.segment))
        for lesion in findings.lesions
        if index in lesion.slice_range
    ]
    named = wording.by_label(findings.measurements)
    for segment in written_segments(findings):
        own = named.pop(segment.label, [])
        if segment.mask[index].any() and (own or not lines):
            texts = "; ".join(wording.measurement(m) for m in own)
            lines.append(
                Line(text=wording.plain(f"{segment.label}: {texts}").rstrip(": "), colour=segment.colour_rgb)
            )
    for label, group in named.items():
        texts = "; ".join(wording.measurement(m) for m in group)
        lines.append(Line(text=wording.plain(f"{label or 'Whole series'}: {texts}")))
    return _bounded(lines, [Line(text=text) for text in wording.reservations(findings)])


def _bounded(lines: Sequence[Line], last: Sequence[Line]) -> list[Line]:
    """Keep a legend short: of too many numbers the last are counted, and of too many reservations too."""
    last = _counted(last, room=DEFAULT.legend_lines_max // 2)
    return [*_counted(lines, room=DEFAULT.legend_lines_max - len(last)), *last]


def _counted(lines: Sequence[Line], *, room: int) -> list[Line]:
    if len(lines) <= room:
        return list(lines)
    kept = max(room - 1, 0)
    return [*lines[:kept], Line(text=f"{len(lines) - kept} more lines are in the structured report.")]


def where(place: SlicePlace, *, index: int, slices: int) -> str:
    """Name a slice as a reader finds it again."""
    if place.frame is not None:
        name = f"Frame {place.frame}"
    else:
        name = "Image" if place.instance_number is None else f"Image {place.instance_number}"
    if place.position_mm is None:
        return f"{name} ({index + 1} of {slices})" if slices > 1 else name
    return f"{name} ({index + 1} of {slices} by position), at {place.position_mm:.1f} mm along the slice axis"


def signature(context: ResultContext) -> list[Line]:
    """Say who made a picture, and the caution: on every picture."""
    who = context.provenance
    made = f"{who.product} {who.product_version}, model {who.model_name} {who.model_version}"
    words = [wording.plain(made), *([wording.plain(who.regulatory_status)] if who.regulatory_status else [])]
    return [*(Line(text=text) for text in words), Line(text=wording.CAUTION, loud=True)]


def header_of(sources: Sequence[Dataset], volume: Volume, *, index: int) -> Dataset:
    """Pick the header of one slice: its own, or the one of a multi-frame image."""
    return sources[index] if len(sources) == len(volume.voxels) else sources[0]
