"""Slices of a series become one array in the patient's frame, in the order of their geometry.

The array is made once and every slice is written straight into its place.
An irregular series stays what it is and says so: nothing is resampled, moved or filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from appliance.core.geometry import SliceGeometry
from appliance.core.instance import Instance, Location
from appliance.worker.faults import NotEligible
from appliance.worker.frames import Cells, Decoding
from appliance.worker.limits import WorkerLimits
from appliance.worker.pixels import PixelFormat, shape_error
from appliance.worker.reading import Reader
from appliance.worker.series import Series, Slot, obstacles, stated_spacing_mm
from appliance.worker.space import Empty, own_memory
from appliance.worker.values import Meaning, Rescale, is_finite, padding_of, rescale_of
from models.tensors import Volume

Progress = Callable[[int, int], None]
# Which stored bytes a slice is made of, which of their frames, and how their cells become values.
Origin = tuple[Location, str, int, Meaning]

# Where an image has no place in the patient, rows and columns are the only axes there are.
_NO_PLACE = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
_HOUNSFIELD = frozenset({None, "HU"})


def build_volume(
    series: Series,
    reader: Reader,
    decoder: Decoding,
    *,
    limits: WorkerLimits,
    progress: Progress | None = None,
    empty: Empty = own_memory,
) -> Volume:
    """Decode every frame of a series into a volume; `progress` is called with (frames done, frames).

    `empty` gives the array that is filled.

    Raises:
        NotEligible: the frames cannot be stacked, or their values cannot be calculated.
        DecodeError: see its words.
        OSError: stored bytes are gone.
    """
    units = units_of(series.headers[0])
    if reasons := [*obstacles(series), *_value_reasons(series)]:
        raise NotEligible(reasons)
    stack = _Stack.of(series, decoder, units, limits, empty)
    stack.fill(reader, decoder, progress)
    geometry = series.geometry
    places = [_place(slot.plane) for slot in series.slots]
    return Volume(
        voxels=stack.voxels,
        valid=stack.valid,
        positions=np.array([position for position, _, _ in places]),
        row_cosines=np.array(places[0][1]),
        column_cosines=np.array(places[0][2]),
        pixel_spacing_mm=pixel_spacing_mm(series),
        slice_spacing_mm=geometry.slice_spacing_mm or stated_spacing_mm(series) or 0.0,
        regular=geometry.regular,
        irregularity=geometry.irregularity,
        gantry_tilt_degrees=geometry.gantry_tilt_degrees,
        modality=str(series.headers[0].get("Modality", "")),
        units=units,
    )


def origins_of(series: Series) -> tuple[Origin, ...]:
    """Say of every slice, in their order, what it is made of: slices of equal origins hold equal values.

    Raises:
        DecodeError: decode.shape, a claim that no image can have.
    """
    units = units_of(series.headers[0])
    pixels = tuple(PixelFormat.of(instance.facts) for instance in series.instances)
    return tuple(
        (
            series.instances[slot.instance].location,
            series.instances[slot.instance].digest,
            slot.frame,
            _meaning(series, pixels, slot.instance, slot.frame, units),
        )
        for slot in series.slots
    )


def units_of(header: Dataset) -> str:
    """Say "HU" where a CT's values are Hounsfield units (PS3.3 C.8.2.1), else "".

    A localiser is a CT image whose values are no measure of attenuation at a point.
    """
    if header.get("Modality") != "CT" or "LOCALIZER" in (header.get("ImageType") or ()):
        return ""
    lut = _lut_of(header, None)
    return "HU" if lut is not None and lut.get("RescaleType") in _HOUNSFIELD else ""


def pixel_spacing_mm(series: Series) -> tuple[float, float]:
    """Give (between rows, between columns); at a projection's detector, or 1 mm where none is stated."""
    plane = series.slots[0].plane
    if plane is not None:
        return plane.pixel_spacing_mm
    facts = series.instances[0].facts
    stated = facts.get("PixelSpacing") or facts.get("ImagerPixelSpacing") or []
    return (stated[0], stated[1]) if len(stated) == 2 and min(stated) > 0 else (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stack:
    """The arrays of a volume while they are filled, and where each frame of each instance goes."""

    voxels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    padded: bool
    places: dict[int, dict[int, int]]
    series: Series
    pixels: tuple[PixelFormat, ...]
    units: str

    @classmethod
    def of(cls, series: Series, decoder: Decoding, units: str, limits: WorkerLimits, empty: Empty) -> _Stack:
        """Check every claim, then take the memory."""
        pixels = tuple(PixelFormat.of(instance.facts) for instance in series.instances)
        for instance, claim in zip(series.instances, pixels, strict=True):
            claim.check_claims(instance, decoder.limits)
        shape = (len(series.slots), pixels[0].rows, pixels[0].columns)
        if any((claim.rows, claim.columns) != shape[1:] for claim in pixels):
            raise NotEligible(["No volume can be made: images differ in size."])
        if shape[0] * shape[1] * shape[2] > limits.voxels_max:
            raise shape_error(f"{shape[0]} x {shape[1]} x {shape[2]} voxels are more than is read")
        padded = any("PixelPaddingValue" in instance.facts for instance in series.instances)
        return cls(
            voxels=empty(shape),
            # Where nothing is padding one True stands for all: a read-only view that takes no memory.
            valid=np.ones(shape, np.bool_) if padded else np.broadcast_to(np.True_, shape),
            padded=padded,
            places=_places(series.slots),
            series=series,
            pixels=pixels,
            units=units,
        )

    def fill(self, reader: Reader, decoder: Decoding, progress: Progress | None) -> None:
        """Decode all instances, a few at a time, each frame into its slice."""
        done = 0
        with ThreadPoolExecutor(decoder.limits.children_max, thread_name_prefix="decode") as pool:
            jobs = [
                pool.submit(self._fill_one, number, instance, decoder.frames, reader)
                for number, instance in enumerate(self.series.instances)
            ]
            try:
                for job in jobs:
                    done += job.result()
                    if progress is not None:
                        progress(done, len(self.voxels))
            finally:
                for job in jobs:
                    job.cancel()
        # The array may be of memory that held another series: not a slice of it may stay.
        if done != len(self.voxels):
            raise shape_error(f"{done} of {len(self.voxels)} frames were given")

    def _fill_one(
        self,
        number: int,
        instance: Instance,
        frames: Callable[[Instance, Reader], Iterable[Cells]],
        reader: Reader,
    ) -> int:
        filled = 0
        for frame, cells in enumerate(frames(instance, reader)):
            z = self.places[number][frame]
            valid = self.valid[z] if self.padded else None
            meaning = _meaning(self.series, self.pixels, number, frame, self.units)
            meaning.fill(cells, self.voxels[z], valid)
            filled += 1
        return filled


def _meaning(series: Series, pixels: Sequence[PixelFormat], number: int, frame: int, units: str) -> Meaning:
    claim = pixels[number]
    return Meaning(
        pixels=claim,
        rescale=_rescale(series, number, frame),
        padding=padding_of(series.instances[number].facts, claim),
        turned_over=claim.photometric == "MONOCHROME1" and not units,
    )


def _places(slots: Iterable[Slot]) -> dict[int, dict[int, int]]:
    places: dict[int, dict[int, int]] = {}
    for z, slot in enumerate(slots):
        places.setdefault(slot.instance, {})[slot.frame] = z
    return places


def _place(plane: SliceGeometry | None) -> tuple[tuple[float, float, float], ...]:
    return _NO_PLACE if plane is None else (plane.position, plane.row_cosines, plane.column_cosines)


def _rescale(series: Series, number: int, frame: int) -> Rescale:
    header = series.headers[number]
    if not _is_enhanced(header):
        return rescale_of(series.instances[number].facts)
    lut = _lut_of(header, frame)
    return rescale_of({} if lut is None else _present(lut))


def _is_enhanced(header: Dataset) -> bool:
    return "SharedFunctionalGroupsSequence" in header or "PerFrameFunctionalGroupsSequence" in header


def _present(lut: Dataset) -> dict[str, Any]:
    values = {keyword: lut.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept")}
    return {keyword: value for keyword, value in values.items() if value is not None}


def _lut_of(header: Dataset, frame: int | None) -> Dataset | None:
    """Find where the rescale of a frame stands: its own group, the shared one, or the header itself."""
    own = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    for groups in (own[frame or 0] if own else None, shared[0] if shared else None):
        found = groups.get("PixelValueTransformationSequence") if groups is not None else None
        if found:
            return found[0]  # type: ignore[no-any-return]
    return header if "RescaleSlope" in header else None


def _value_reasons(series: Series) -> list[str]:
    """List why stored values cannot be turned into numbers a model reads."""
    reasons = []
    if any("ModalityLUTSequence" in header for header in series.headers):
        reasons.append("The values go through a table (Modality LUT Sequence), which is not read.")
    rescales = (_rescale(series, slot.instance, slot.frame) for slot in series.slots)
    if not all(is_finite(rescale) for rescale in rescales):
        reasons.append("Rescale Slope or Intercept is no number to calculate with.")
    return reasons
