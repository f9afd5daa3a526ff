"""One frame of a multi-frame object as an instance of its own, so that only this frame is read and decoded.

Native frames lie one behind another; of compressed ones the fragments are walked by their headers
(PS3.5 A.4), a few bytes each, whatever the object weighs.
Never: decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from struct import Struct, error

from appliance.core.instance import Instance, Location
from appliance.worker.pixels import NATIVE, PixelFormat, shape_error
from appliance.worker.reading import Reader

_ITEM = Struct("<HHI")
_ITEM_TAG, _END_TAG = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_EMPTY_TABLE, _END = _ITEM.pack(*_ITEM_TAG, 0), _ITEM.pack(*_END_TAG, 0)
_OFFSET = Struct("<I")


@dataclass(frozen=True)
class _OneFrame:
    """A reader whose only content is one frame."""

    stream: bytes

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read the frame, whatever location is named."""
        end = None if length is None else offset + length
        return self.stream[offset:end]


def one_frame(instance: Instance, frame: int, reader: Reader, *, bytes_max: int) -> tuple[Instance, Reader]:
    """Return an instance that holds frame `frame` (from 1) alone, and what reads it.

    Raises:
        DecodeError: decode.shape, there is no such frame or it is larger than `bytes_max`.
        OSError: the bytes are gone.
    """
    pixels = PixelFormat.of(instance.facts)
    if not 1 <= frame <= pixels.frames:
        raise shape_error(f"there is no frame {frame}")
    if pixels.frame_bytes > bytes_max:
        raise shape_error(f"a frame of {pixels.frame_bytes} bytes is more than is shown")
    if pixels.frames == 1:
        return instance, reader
    facts = {**instance.facts, "NumberOfFrames": 1}
    if instance.transfer_syntax_uid in NATIVE:
        start = (instance.pixel_offset or 0) + (frame - 1) * pixels.frame_bytes
        padded = pixels.frame_bytes + pixels.frame_bytes % 2
        return replace(instance, facts=facts, pixel_offset=start, pixel_bytes=padded), reader
    stream = _encapsulated(instance, frame - 1, pixels.frames, reader=reader, bytes_max=bytes_max)
    made = replace(instance, facts=facts, pixel_offset=0, pixel_bytes=len(stream))
    return made, _OneFrame(stream)


def _encapsulated(instance: Instance, frame: int, frames: int, *, reader: Reader, bytes_max: int) -> bytes:
    """Cut the fragments of one frame out, and wrap them as a stream of one frame."""
    table, *fragments = _items(instance, reader, items_max=64 * frames + 64)
    first, behind = _span(instance, table, fragments, reader=reader, frames=frames, frame=frame)
    start, end = fragments[first][0], sum(fragments[behind - 1])
    if end - start > bytes_max:
        raise shape_error(f"a frame of {end - start} compressed bytes is more than is shown")
    body = reader.read(instance.location, start - _ITEM.size, end - start + _ITEM.size)
    return _EMPTY_TABLE + body + _END


def _items(instance: Instance, reader: Reader, *, items_max: int) -> list[tuple[int, int]]:
    """List the (offset, length) of every item's value: the Basic Offset Table, then the fragments."""
    at, found = instance.pixel_offset or 0, list[tuple[int, int]]()
    while len(found) <= items_max:
        try:
            group, element, length = _ITEM.unpack(reader.read(instance.location, at, _ITEM.size))
        except error:
            break
        if (group, element) != _ITEM_TAG:
            break
        found.append((at + _ITEM.size, length))
        at += _ITEM.size + length
    if len(found) < 2:
        raise shape_error("the compressed frames have no fragments")
    return found


def _span(
    instance: Instance,
    table: tuple[int, int],
    fragments: Sequence[tuple[int, int]],
    *,
    reader: Reader,
    frames: int,
    frame: int,
) -> tuple[int, int]:
    """Say which fragments, first and behind the last, make a frame."""
    if len(fragments) == frames:
        return frame, frame + 1
    if table[1] != _OFFSET.size * frames:
        raise shape_error(f"{len(fragments)} fragments make {frames} frames, and no table says how")
    raw = reader.read(instance.location, *table)
    # Offsets count from the first fragment's item header.
    starts = [fragments[0][0] + offset for (offset,) in _OFFSET.iter_unpack(raw)]
    places = {start: number for number, (start, _) in enumerate(fragments)}
    firsts = [places.get(start) for start in starts] + [len(fragments)]
    first, behind = firsts[frame], firsts[frame + 1]
    if first is None or behind is None or first >= behind:
        raise shape_error("the table of the compressed frames does not fit them")
    return first, behind
