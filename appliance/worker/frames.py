"""Native frames, read straight from where they lie: no parser between the file and the array.

A frame is an array of cells as they were stored; `appliance.worker.values` gives them their meaning.
One frame is in memory at a time, however many an instance holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core.instance import Instance
from appliance.worker.limits import DecodeLimits
from appliance.worker.pixels import EXPLICIT_VR_BIG_ENDIAN, PixelFormat, shape_error
from appliance.worker.reading import Reader

Cells = NDArray[Any]

_TAG_AND_VR_BYTES = 12


class Decoding(Protocol):
    """Gives the frames of instances; `appliance.worker.decode.Decoder` is one."""

    @property
    def limits(self) -> DecodeLimits:
        """Return its bounds."""
        ...

    def frames(self, instance: Instance, reader: Reader) -> Iterator[Cells]:
        """Decode the greyscale frames of an instance, first to last, each (rows, columns)."""
        ...


def native_frames(instance: Instance, pixels: PixelFormat, reader: Reader) -> Iterator[Cells]:
    """Read the frames of an instance in a native transfer syntax (PS3.5 A.1 to A.3), first to last.

    Each is (rows, columns) of 8, 16 or 32 bit whole numbers in the file's byte order, not writeable.

    Raises:
        DecodeError: decode.shape, the stored bytes end early.
        OSError: the bytes are gone.
    """
    assert instance.pixel_offset is not None, "claims were checked"
    big_endian = instance.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    if big_endian and pixels.bits_allocated == 8 and _is_words(instance, reader):
        yield from _swapped_frames(instance, pixels, reader)
        return
    dtype = pixels.dtype(big_endian=big_endian)
    for frame in range(pixels.frames):
        start = instance.pixel_offset + frame * pixels.frame_bytes
        yield _cells(reader.read(instance.location, start, pixels.frame_bytes), pixels, dtype)


def _is_words(instance: Instance, reader: Reader) -> bool:
    """Say whether Pixel Data has the VR OW, whose bytes are swapped in pairs (PS3.5 A.3)."""
    assert instance.pixel_offset is not None, "claims were checked"
    start = instance.pixel_offset - _TAG_AND_VR_BYTES
    return reader.read(instance.location, start, _TAG_AND_VR_BYTES)[4:6] == b"OW"


def _swapped_frames(instance: Instance, pixels: PixelFormat, reader: Reader) -> Iterator[Cells]:
    whole = np.frombuffer(
        reader.read(instance.location, instance.pixel_offset or 0, instance.pixel_bytes), np.uint16
    )
    data = whole.byteswap().tobytes()
    for frame in range(pixels.frames):
        start = frame * pixels.frame_bytes
        yield _cells(data[start : start + pixels.frame_bytes], pixels, pixels.dtype())


def _cells(data: bytes, pixels: PixelFormat, dtype: np.dtype[Any]) -> Cells:
    if len(data) != pixels.frame_bytes:
        raise shape_error(f"a frame ends after {len(data)} of {pixels.frame_bytes} bytes")
    return np.frombuffer(data, dtype).reshape(pixels.shape)
