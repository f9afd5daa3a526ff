"""One instance inside a segment: whole blocks that hold a DICOM file with this box's record in its head.

The bytes from a frame's start to the end of its data set are an ordinary DICOM file (PS3.10 7): who cuts
them out of the segment has what any tool opens.
The record is written together with the bytes, so it holds a sum that shows a torn write at once; the digest
that the ledger wants follows with the row.

Promises: what is read as a frame was written as one, at this place of this segment.
Never: takes bytes that a sender chose for a frame: the segment's token is in no answer to anybody.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from appliance.core.instance import Location
from appliance.disk.blocks import BLOCK_BYTES, whole_blocks
from appliance.spool.record import HEAD_BYTES, Record, RecordFault, encode, read_head

# Before the first frame: what the file is, in words, and a block that is written when nothing more comes.
FIRST_FRAME: Final = 2 * BLOCK_BYTES
_SEAL_AT: Final = BLOCK_BYTES
_LOOK_BYTES: Final = 2**20
_UNCHECKED = b'"check":"00000000"'
_WORDS_DTYPE = np.dtype("<u8")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame as its head tells: `at`, its byte offset in the segment; `gone`, its bytes were given up."""

    at: int
    record: Record
    sum64: int
    gone: bool

    @property
    def bytes_in_file(self) -> int:
        """Return the whole blocks it takes, in bytes."""
        return whole_blocks(HEAD_BYTES + self.record.length)


def sum_of(data: memoryview | bytes) -> int:
    """Return the sum of little-endian 64-bit words modulo 2**64, a short last word filled up with zeros.

    A write that was torn leaves zeros or older bytes in whole sectors, which it shows; it is no digest.
    """
    even = len(data) // 8 * 8
    total = int(np.frombuffer(data[:even], _WORDS_DTYPE).sum(dtype=np.uint64))
    return (total + int.from_bytes(bytes(data[even:]), "little")) % 2**64


def encode_frame(record: Record, *, sum64: int, token: str, at: int, gone: bool = False) -> bytes:
    """Return the head of a frame, `HEAD_BYTES` long."""
    head = encode(record, sum64=f"{sum64:016x}", segment=token, at=at, gone=gone, check="00000000")
    return head.replace(_UNCHECKED, b'"check":"%08x"' % zlib.crc32(head), 1)


def decode_frame(head: bytes, *, token: str, at: int) -> Frame:
    """Read the head of a frame at its place.

    Raises:
        RecordFault: it is torn, was never written, or belongs elsewhere.
    """
    record, note = read_head(head)
    try:
        checked = b'"check":"%b"' % str(note["check"]).encode("ascii")
        sound = int(str(note["check"]), 16) == zlib.crc32(head[:HEAD_BYTES].replace(checked, _UNCHECKED, 1))
        if not sound or (note["segment"], note["at"]) != (token, at):
            raise RecordFault("the head of a frame is torn, or another's")
        return Frame(at=at, record=record, sum64=int(note["sum64"], 16), gone=bool(note.get("gone")))
    except (KeyError, ValueError) as error:
        raise RecordFault("the head of a frame cannot be read") from error


def location_of(file: str, frame: Frame) -> Location:
    """Return where a frame's data set lies."""
    return Location(file=file, offset=frame.at + HEAD_BYTES, length=frame.record.length)


def token_of(path: Path) -> str:
    """Return the token of a segment, which is its name."""
    return path.stem


def frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a segment, in order; what was torn or never finished is passed over.

    Raises:
        OSError: the disk cannot read it.
    """
    token = token_of(path)
    with path.open("rb", buffering=0) as file:
        at: int | None = FIRST_FRAME
        while at is not None:
            file.seek(at)
            try:
                frame = decode_frame(file.read(HEAD_BYTES), token=token, at=at)
            except RecordFault:
                at = _next_head(file.fileno(), at + BLOCK_BYTES, token)
                continue
            yield frame
            at += frame.bytes_in_file


def _next_head(handle: int, start: int, token: str) -> int | None:
    """Return the offset of the next block that begins with a frame's head, if there is one."""
    mark = token.encode("ascii")
    at = start
    while chunk := os.pread(handle, _LOOK_BYTES, at):
        found = chunk.find(mark)
        while found >= 0:
            block = found // BLOCK_BYTES * BLOCK_BYTES
            if _is_head(chunk[block : block + HEAD_BYTES], token, at + block):
                return at + block
            found = chunk.find(mark, found + 1)
        at += len(chunk)
    return None


def _is_head(head: bytes, token: str, at: int) -> bool:
    try:
        decode_frame(head, token=token, at=at)
    except RecordFault:
        return False
    return True
