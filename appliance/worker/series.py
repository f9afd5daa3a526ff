"""The images of one series in the order of their geometry, before any pixel is read.

A slot is one frame of one instance; a classic image has one frame, an enhanced object has many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydicom import Dataset

from appliance.core.geometry import SeriesGeometry, SliceGeometry, measure, planes_of, route_facts
from appliance.core.instance import Instance
from appliance.worker.faults import NotEligible
from appliance.worker.limits import WorkerLimits
from appliance.worker.pixels import GREYSCALE
from appliance.worker.reading import Reader, read_header


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One frame: which instance of the series (from 0), which of its frames (from 0), and its plane."""

    instance: int
    frame: int
    plane: SliceGeometry | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Instances with their headers (no pixels), and the slots along the normal.

    `sources` are the headers in slice order; one for a multi-frame object.
    """

    instances: tuple[Instance, ...]
    headers: tuple[Dataset, ...]
    slots: tuple[Slot, ...]
    geometry: SeriesGeometry

    @property
    def sources(self) -> tuple[Dataset, ...]:
        """Give the headers in slice order, each once."""
        return tuple(self.headers[number] for number in dict.fromkeys(slot.instance for slot in self.slots))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Give the facts that geometry limits are judged by.

        One slice has no neighbour: what its header states stands in for the distance.
        """
        facts = route_facts(self.geometry)
        if facts["slice_spacing_mm"] is None:
            facts["slice_spacing_mm"] = stated_spacing_mm(self)
        return facts


def read_series(instances: Sequence[Instance], reader: Reader, limits: WorkerLimits) -> Series:
    """Read the headers of a series and order its frames along their normal.

    Raises:
        NotEligible: it holds what no volume can be made of; every reason is given.
        DecodeError: decode.header.
        OSError: stored bytes are gone.
    """
    _refuse(_image_reasons(instances, limits))
    headers = {instance.sop_instance_uid: read_header(instance, reader) for instance in instances}
    planes = planes_of(instances, header_of=lambda instance: headers[instance.sop_instance_uid])
    owners = _owners(instances)
    if len(planes) != len(owners):
        _refuse([f"Number of Frames is {len(owners)}, and places are given for {len(planes)}."])
    geometry = measure(planes)
    slots = tuple(
        Slot(instance=owners[index][0], frame=owners[index][1], plane=planes[index])
        for index in geometry.order
    )
    return Series(instances=tuple(instances), headers=tuple(headers.values()), slots=slots, geometry=geometry)


def obstacles(series: Series) -> list[str]:
    """List in whole sentences why the frames cannot be stacked; empty when they can."""
    return [f"No volume can be made: {reason}." for reason in series.geometry.obstacles]


def stated_spacing_mm(series: Series) -> float | None:
    """Give the distance between slices that the first header states, or its slice thickness, or None."""
    header = series.headers[0]
    shared = header.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    for holder in (measures[0], header) if measures else (header,):
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            value = holder.get(keyword)
            if value is not None and float(value) > 0:
                return float(value)
    return None


def _owners(instances: Sequence[Instance]) -> list[tuple[int, int]]:
    return [
        (number, frame) for number, instance in enumerate(instances) for frame in range(_frames(instance))
    ]


def _frames(instance: Instance) -> int:
    frames = instance.facts.get("NumberOfFrames", 1)
    return frames if isinstance(frames, int) and frames > 0 else 1


def _image_reasons(instances: Sequence[Instance], limits: WorkerLimits) -> list[str]:
    """List what keeps the instances from being one stack of greyscale images."""
    if not instances:
        return ["The series holds no instance."]
    total = len(instances)
    reasons = []
    without = sum(instance.pixel_offset is None for instance in instances)
    if without:
        reasons.append(f"{without} of {total} instances hold no pixels.")
    colours = {instance.facts.get("PhotometricInterpretation") for instance in instances} - GREYSCALE - {None}
    if colours:
        reasons.append(f"The images are in colour ({', '.join(sorted(map(str, colours)))}), not greyscale.")
    many = sum(_frames(instance) > 1 for instance in instances)
    if many and total > 1:
        reasons.append(f"The series holds {total} objects, {many} of them multi-frame; only one is read.")
    frames = sum(_frames(instance) for instance in instances)
    if frames > limits.frames_max:
        reasons.append(f"The series claims {frames} frames; at most {limits.frames_max} are read.")
    if len({instance.sop_instance_uid for instance in instances}) < total:
        reasons.append("An instance is named twice.")
    return reasons


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise NotEligible(reasons)
