"""Give up the bytes of instances that lie in a segment: mark their frames as gone, then punch holes.

Promises: a frame is marked durably before its bytes go, so that a crash in between leaves nothing that looks
like a damaged image.
Never: touches another frame; reuses the place.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from appliance.core.crash import crash_here
from appliance.disk.blocks import BLOCK_BYTES, BlockFile, aligned
from appliance.disk.durable import translated
from appliance.spool.frame import Frame, decode_frame, encode_frame, token_of
from appliance.spool.record import HEAD_BYTES, RecordFault

SEGMENT_FOLDER: Final = "segments"
SEGMENT_SUFFIX: Final = ".seg"


def release(path: Path, places: Iterable[int]) -> None:
    """Give up the frames of a segment that begin at some byte offsets; a segment that is gone is no error.

    Raises:
        DiskFault: the disk failed.
    """
    if not path.exists():
        return
    file = BlockFile(path)
    try:
        found = [frame for at in sorted(places) if (frame := _frame(path, at)) is not None]
        for frame in found:
            _mark(file, frame, token_of(path))
        if found:
            file.sync()
        crash_here("released-marked")
        for frame in found:
            file.give_back(frame.at + BLOCK_BYTES, frame.bytes_in_file - BLOCK_BYTES)
    finally:
        file.close()


def _frame(path: Path, at: int) -> Frame | None:
    """Return the frame at a place, if it is one and not gone already."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(at)
            frame = decode_frame(file.read(HEAD_BYTES), token=token_of(path), at=at)
    except RecordFault:
        return None
    except OSError as error:
        raise translated(error, path) from error
    return None if frame.gone else frame


def _mark(file: BlockFile, frame: Frame, token: str) -> None:
    block = aligned(BLOCK_BYTES)
    block[:HEAD_BYTES] = encode_frame(frame.record, sum64=frame.sum64, token=token, at=frame.at, gone=True)
    file.write(frame.at, block, durable=False)
