"""The images of a result in the order of their geometry, and which of them are still on the box.

For an inference they are exactly the images that it used (P7); for anything else those it would have used.
Never: reads a pixel, or guesses an order that nobody stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from appliance.console.limits import Limits
from appliance.console.preview.stored import Stored
from appliance.core.geometry import SliceGeometry, measure, planes_of
from appliance.core.instance import Instance, Location
from appliance.core.words import InstanceState
from appliance.ledger import custody, jobs
from appliance.ledger.engine import Tx
from appliance.ledger.results import Result
from appliance.worker.faults import DecodeError
from appliance.worker.reading import read_header

Doubles = NDArray[np.float64]

_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))


@dataclass(frozen=True, kw_only=True)
class Place:
    """One image to show.

    Attributes:
        frame: from 1 in a multi-frame object; None in a single image.
        number: Instance Number, or the frame's; None where there is none.
        along_mm: distance along the normal of the stack; None without a place in the patient.
    """

    instance: Instance
    frame: int | None
    number: int | None
    plane: SliceGeometry | None
    along_mm: float | None

    @property
    def edges(self) -> Sequence[str]:
        """Name where the image's right and lower edge look: L, R, P, A, H, F; empty where unknown."""
        if self.plane is None:
            return ()
        return (_direction(self.plane.row_cosines), _direction(self.plane.column_cosines))


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All images of a result; `index` finds one by its SOP Instance UID and frame (None: the only one)."""

    places: Sequence[Place]
    index: Mapping[tuple[str, int | None], int] = field(repr=False)

    def find(self, sop_instance_uid: str, frame: int | None) -> int | None:
        """Return where an image lies that an object refers to."""
        found = self.index.get((sop_instance_uid, frame))
        # An object may name frame 1 of an image that has no frames, or leave it out where there is one.
        return self.index.get((sop_instance_uid, 1 if frame is None else None)) if found is None else found


def instances_of(tx: Tx, result: Result) -> list[Instance]:
    """Return the images of a result: the evidence of an inference, else the input of its job."""
    inputs = [one for one in jobs.inputs_of(tx, result.job_id) if one.pixel_offset is not None]
    used = {(pair[0], pair[1]) for pair in result.evidence}
    return [one for one in inputs if (one.sop_instance_uid, one.digest) in used] if used else inputs


def stack_of(instances: Sequence[Instance], stored: Stored, limits: Limits) -> Stack:
    """Put images into the order of their geometry, as the model saw them; without one, by their number."""
    given = sorted(instances[: limits.preview_images_max], key=_numbered)
    planes = planes_of(given, header_of=lambda instance: _header(instance, stored, limits))
    owners = [(instance, frame) for instance in given for frame in range(1, _frames(instance) + 1)]
    owners, planes = owners[: limits.preview_images_max], planes[: limits.preview_images_max]
    if len(planes) != len(owners):
        planes = [None] * len(owners)
    normal = _normal(planes)
    places = [_place(*owners[at], planes[at], normal=normal) for at in measure(planes).order]
    index = {(place.instance.sop_instance_uid, place.frame): at for at, place in enumerate(places)}
    return Stack(places=places, index=index)


def absent(tx: Tx, instances: Sequence[Instance], stored: Stored) -> set[Location]:
    """Return where bytes were given up: the row says so, or there is no file."""
    files = {instance.location.file: instance.location for instance in instances}
    gone = {file for file, location in files.items() if not stored.here(location)}
    # Many instances may share a file, which stays while one of them does.
    shared = custody.purged_among(tx, [file for file in files if file not in gone])
    claims = {file: custody.claims(tx, file) for file in shared}
    return {
        instance.location
        for instance in instances
        if instance.location.file in gone
        or claims.get(instance.location.file, {}).get(instance.location.offset) is InstanceState.PURGED
    }


def _place(instance: Instance, frame: int, plane: SliceGeometry | None, *, normal: Doubles | None) -> Place:
    many = "NumberOfFrames" in instance.facts
    number = frame if _frames(instance) > 1 else instance.facts.get("InstanceNumber")
    return Place(
        instance=instance,
        frame=frame if many else None,
        number=number if isinstance(number, int) else None,
        plane=plane,
        along_mm=None if plane is None or normal is None else round(float(np.dot(plane.position, normal)), 2),
    )


def _header(instance: Instance, stored: Stored, limits: Limits) -> Dataset:
    """Read the functional groups of a multi-frame object; where they cannot be read there are none."""
    offset = instance.pixel_offset or 0
    if "NumberOfFrames" not in instance.facts or offset > limits.preview_header_bytes_max:
        return Dataset()
    try:
        return read_header(instance, stored)
    except (DecodeError, OSError):
        return Dataset()


def _normal(planes: Sequence[SliceGeometry | None]) -> Doubles | None:
    plane = next((plane for plane in planes if plane is not None), None)
    return None if plane is None else np.cross(plane.row_cosines, plane.column_cosines)


def _frames(instance: Instance) -> int:
    frames = instance.facts.get("NumberOfFrames", 1)
    return frames if isinstance(frames, int) and frames > 0 else 1


def _numbered(instance: Instance) -> tuple[int, str]:
    number = instance.facts.get("InstanceNumber")
    return (number if isinstance(number, int) else 0, instance.sop_instance_uid)


def _direction(cosines: Sequence[float]) -> str:
    axis = int(np.abs(cosines).argmax())
    return _DIRECTIONS[axis][0 if cosines[axis] >= 0 else 1]
