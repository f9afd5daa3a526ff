"""What an instance's header says about its pixels (PS3.3 C.7.6.3), checked before anything trusts it.

A claim that cannot be true is refused here, before memory is taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from appliance.core.instance import Instance
from appliance.worker.faults import DecodeError
from appliance.worker.limits import DecodeLimits

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
GREYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The Image Pixel attributes of one instance, all of them possible together."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    planar: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> PixelFormat:
        """Read the format out of an instance's facts.

        Raises:
            DecodeError: decode.shape, an attribute is missing or impossible.
        """
        samples = _whole(facts, "SamplesPerPixel", default=1)
        allocated = _whole(facts, "BitsAllocated")
        stored = _whole(facts, "BitsStored")
        found = cls(
            rows=_whole(facts, "Rows"),
            columns=_whole(facts, "Columns"),
            frames=_whole(facts, "NumberOfFrames", default=1),
            samples=samples,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=_whole(facts, "HighBit", default=stored - 1, least=0),
            signed=_whole(facts, "PixelRepresentation", default=0, least=0) == 1,
            photometric=str(facts.get("PhotometricInterpretation", "")),
            planar=_whole(facts, "PlanarConfiguration", default=0, least=0),
        )
        found._check()
        return found

    def _check(self) -> None:
        if self.samples not in (1, 3):
            raise shape_error(f"Samples per Pixel is {self.samples}")
        if self.bits_allocated not in (8, 16, 32):
            raise shape_error(f"Bits Allocated is {self.bits_allocated}; 8, 16 and 32 are read")
        if not 1 <= self.bits_stored <= self.high_bit + 1 <= self.bits_allocated:
            raise shape_error(
                f"{self.bits_stored} bits stored below bit {self.high_bit} do not fit {self.bits_allocated}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one frame: (rows, columns), with the samples behind where there are several."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def frame_bytes(self) -> int:
        """Give the length of one native frame."""
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)

    def dtype(self, *, big_endian: bool = False) -> np.dtype[Any]:
        """Give the type of one native cell."""
        kind = "i" if self.signed else "u"
        return np.dtype(f"{'>' if big_endian else '<'}{kind}{self.bits_allocated // 8}")

    def check_claims(self, instance: Instance, limits: DecodeLimits) -> None:
        """Compare the claimed size with the bytes there are, without taking memory.

        Raises:
            DecodeError: decode.shape.
        """
        if self.frame_bytes > limits.frame_bytes_max:
            raise shape_error(
                f"{self.rows} x {self.columns} pixels of {self.bits_allocated} bits are more than is read"
            )
        if instance.pixel_bytes is None or instance.pixel_offset is None:
            raise shape_error("there is no Pixel Data")
        if instance.transfer_syntax_uid not in NATIVE:
            return
        claimed = self.frame_bytes * self.frames
        # A value of odd length is padded with one byte (PS3.5 8.1.1).
        if instance.pixel_bytes != claimed + claimed % 2:
            raise shape_error(
                f"{self.frames} frames of {self.rows} x {self.columns} at {self.bits_allocated} bits need"
                f" {claimed} bytes, and Pixel Data has {instance.pixel_bytes}"
            )


def shape_error(what: str) -> DecodeError:
    """Say that the attributes of an image contradict each other or its bytes."""
    return DecodeError("decode.shape", f"The image's description is not possible: {what}.")


def _whole(facts: Mapping[str, Any], keyword: str, *, default: int | None = None, least: int = 1) -> int:
    value = facts.get(keyword, default)
    if not isinstance(value, int):
        raise shape_error(f"{keyword} is missing")
    if value < least:
        raise shape_error(f"{keyword} is {value}")
    return value
