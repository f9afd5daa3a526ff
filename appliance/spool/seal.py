"""The first two blocks of a segment: what it is, in words for a person, and the seal of one that is done.

Promises: a seal is written after the rows of every instance in the segment.
Never: says anything that the frames themselves do not; without both blocks nothing is lost but time.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from appliance.disk.blocks import BLOCK_BYTES, BlockFile, aligned
from appliance.disk.durable import remove_file

_SEAL_AT = BLOCK_BYTES
_SEAL = b"READSIDE SEALED SEGMENT "
_LABEL = """READSIDE SPOOL SEGMENT, layout 1

This file holds many DICOM instances, one behind the other.
Each begins at a multiple of 4096 bytes with 128 zero bytes and the letters DICM, as every DICOM file does.
Its file meta information (group 0002) is 1024 bytes long in all, with the preamble. In the private element
(0002,0102) stand, as JSON: "length", the bytes of the data set that follows those 1024, "received_at" in
seconds since 1970, and "gone" where the bytes were given up.
Cut 1024 + "length" bytes out of the file from there, and any DICOM program opens them.
"readside spool extract" does that for every instance of a folder.

Token: {token}
"""


def write_label(file: BlockFile, token: str) -> None:
    """Write the first block, and leave the second without a seal; durable on return."""
    block = aligned(2 * BLOCK_BYTES)
    text = _LABEL.format(token=token).encode("ascii")
    block[: len(text)] = text
    file.write(0, block, durable=True)


def write_seal(file: BlockFile, rows: int) -> None:
    """Note that every instance of the segment is settled, and how many rows named it; durable on return."""
    text = json.dumps({"rows": rows}).encode("ascii")
    block = aligned(BLOCK_BYTES)
    line = _SEAL + b"%08x " % zlib.crc32(text) + text + b"\n"
    block[: len(line)] = line
    file.write(_SEAL_AT, block, durable=True)


def read_seal(path: Path) -> int | None:
    """Return how many rows named a segment when it was sealed; nothing for one that was not.

    Raises:
        OSError: the disk cannot read it.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(_SEAL_AT)
        line = file.read(BLOCK_BYTES).partition(b"\n")[0]
    if not line.startswith(_SEAL):
        return None
    check, _, text = line[len(_SEAL) :].partition(b" ")
    if check != b"%08x" % zlib.crc32(text):
        return None
    return int(json.loads(text)["rows"])


def forget(path: Path) -> None:
    """Remove a segment of which nothing is kept; durable on return."""
    remove_file(path)
