"""The segmentation as it was sent: which of its frames lies on which image, and the mask of each.

Binary frames are bits without gaps between frames (PS3.3 C.8.20.2), fractional ones are drawn where they
reach half of the whole, and a label map holds all segments in one frame.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from appliance.console.limits import Limits
from appliance.console.preview.frame import one_frame
from appliance.console.preview.objects import Opened
from appliance.console.preview.stack import Stack
from appliance.console.preview.stored import Stored
from appliance.core.instance import Instance
from appliance.worker.decode import Decoder
from appliance.worker.pixels import NATIVE

Mask = NDArray[np.bool_]

CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_DEFAULT_RGB = (255, 77, 56)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One segment: its number, its label as the viewer shows it, and its colour."""

    number: int
    label: str
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Masks:
    """A segmentation; `frames`: image -> the (segment, frame from 1) that lie on it; 0 is all segments."""

    opened: Opened
    kind: str
    segments: Sequence[Segment]
    frames: Mapping[int, Sequence[tuple[int, int]]]
    strays: int

    def images_of(self, segment: int) -> list[int]:
        """Return the images with a frame of a segment, in order."""
        return sorted(at for at, on in self.frames.items() if any(number in (segment, 0) for number, _ in on))


def masks_of(opened: Opened, stack: Stack, limits: Limits) -> Masks:
    """Read which frame of a segmentation lies on which image; frames of no image of ours are strays."""
    header, frames, strays = opened.header, dict[int, list[tuple[int, int]]](), 0
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    for number, group in enumerate(groups[: limits.preview_masks_max], start=1):
        at = _image_of(group, shared, stack)
        if at is None:
            strays += 1
            continue
        frames.setdefault(at, []).append((_segment_of(group, shared), number))
    kind = str(header.get("SegmentationType", "BINARY"))
    # A label map may say what its zero is: the background is no region.
    described = [_segment(item) for item in header.get("SegmentSequence") or []]
    segments = [segment for segment in described if segment.number]
    return Masks(opened=opened, kind=kind, segments=segments, frames=frames, strays=strays)


def regions(masks: Masks, image: int, *, stored: Stored, decoder: Decoder) -> Iterator[tuple[int, Mask]]:
    """Yield (segment number, bool (rows, columns)) of everything that lies on an image.

    Raises:
        DecodeError: a frame cannot be read.
        OSError: the disk failed.
    """
    for segment, frame in masks.frames.get(image, ()):
        if masks.kind == "BINARY":
            yield segment, _bits(masks.opened, frame, stored)
            continue
        cells = _cells(masks.opened, frame, stored, decoder)
        if masks.kind == "FRACTIONAL":
            most = int(masks.opened.header.get("MaximumFractionalValue", 255))
            yield segment, cells.astype(np.uint32) * 2 >= most
            continue
        yield from ((int(number), cells == number) for number in np.unique(cells) if number)


def drawn(segment: int, mask: Mask) -> dict[str, Any] | None:
    """Write a mask as JSON values: the box it fills, and its bits by rows, the first pixel highest."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    bits = np.packbits(mask[top:bottom, left:right], axis=1)
    return {
        "segment": segment,
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        "bits": base64.b64encode(bits.tobytes()).decode("ascii"),
    }


def _image_of(group: Dataset, shared: Dataset, stack: Stack) -> int | None:
    """Find the image that a frame was drawn on; what all frames share stands once for all."""
    for derived in group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or ():
        for source in derived.get("SourceImageSequence") or ():
            frame = source.get("ReferencedFrameNumber")
            at = stack.find(str(source.ReferencedSOPInstanceUID), None if frame is None else int(frame))
            if at is not None:
                return at
    return None


def _segment_of(group: Dataset, shared: Dataset) -> int:
    named = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
    return int(named[0].ReferencedSegmentNumber) if named else 0


def _segment(item: Dataset) -> Segment:
    lab = item.get("RecommendedDisplayCIELabValue")
    return Segment(
        number=int(item.SegmentNumber),
        label=str(item.get("SegmentLabel", "")),
        colour_rgb=rgb_of([int(part) for part in lab]) if lab and len(lab) == 3 else _DEFAULT_RGB,
    )


def _bits(opened: Opened, frame: int, stored: Stored) -> Mask:
    rows, columns = int(opened.header.Rows), int(opened.header.Columns)
    first = (frame - 1) * rows * columns
    start, behind = first // 8, -(-(first + rows * columns) // 8)
    raw = stored.read(opened.location, opened.pixel_offset + start, behind - start)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[first - start * 8 :]
    return bits[: rows * columns].reshape(rows, columns).astype(np.bool_)


def _cells(opened: Opened, frame: int, stored: Stored, decoder: Decoder) -> NDArray[Any]:
    """Read a frame of 8 or 16 bits the way any image's is read."""
    whole, source = one_frame(_as_image(opened), frame, stored, bytes_max=decoder.limits.frame_bytes_max)
    (cells,) = decoder.stored_frames(whole, source)
    return cells


def _as_image(opened: Opened) -> Instance:
    header, item = opened.header, opened.item
    keywords = (
        "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation",
    )  # fmt: skip
    facts = {keyword: int(header[keyword].value) for keyword in keywords if keyword in header}
    # Numbers of segments are shown as no colour, whatever palette the object brings.
    facts_and_look = {**facts, "PhotometricInterpretation": "MONOCHROME2"}
    samples = facts["Rows"] * facts["Columns"] * facts.get("NumberOfFrames", 1)
    length = samples * (facts["BitsAllocated"] // 8)
    left = item.location.length - opened.pixel_offset
    return Instance(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        study_uid="",
        series_uid=item.series_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        location=item.location,
        digest=item.digest,
        pixel_offset=opened.pixel_offset,
        pixel_bytes=length + length % 2 if item.transfer_syntax_uid in NATIVE else left,
        facts=facts_and_look,
    )


def rgb_of(lab: Sequence[int]) -> tuple[int, int, int]:
    """Turn a Recommended Display CIELab Value (PS3.3 C.10.7.1.1, D65) into red, green and blue."""
    lightness, a, b = lab[0] / 65535 * 100, lab[1] / 257 - 128, lab[2] / 257 - 128
    y = (lightness + 16) / 116
    cubes = [t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29) for t in (y + a / 500, y, y - b / 200)]
    xyz = np.array(cubes) * (0.95047, 1.0, 1.08883)
    linear = np.clip(_XYZ_TO_RGB @ xyz, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(part) for part in np.round(curved * 255))
    return red, green, blue


_XYZ_TO_RGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.969266, 1.8760108, 0.041556],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
