"""What is compared of an answer, as bytes that lie on a disk until another version's answer is there.

A JSON line with everything but the masks' voxels, then the masks' packed bits, all under zlib, for masks are
mostly empty.

Promises: what was read back is what was written; what has any other form is refused.
Never: unpacks more than its bound.
"""

from __future__ import annotations

import json
import zlib

import numpy as np

from models.agreement import Reading
from models.golden import reading_from, written

UNPACKED_BYTES_MAX = 1 << 30
_LEVEL = 1


class SealFault(ValueError):
    """The bytes hold no answer."""


def seal(reading: Reading) -> bytes:
    """Write what is compared of an answer."""
    head = {"expected": written(reading), "voxels": [mask.size for mask in reading.masks]}
    packing = zlib.compressobj(_LEVEL)
    parts = [packing.compress(json.dumps(head).encode() + b"\n")]
    parts += [packing.compress(mask.bits.tobytes()) for mask in reading.masks]
    return b"".join([*parts, packing.flush()])


def unseal(data: bytes) -> Reading:
    """Read what `seal` wrote.

    Raises:
        SealFault: it has another form, or is larger than anything that `seal` writes.
    """
    try:
        line, _, bits = _unpacked(data).partition(b"\n")
        head = json.loads(line)
        sizes = {int(size) for size in head["voxels"]}
        size = sizes.pop() if sizes else 0
        each = -(-size // 8)
        if sizes or size < 0 or len(bits) != each * len(head["voxels"]):
            raise SealFault("its masks have other sizes than it says")
        arrays = {
            f"mask_{number}": np.frombuffer(bits, dtype=np.uint8, count=each, offset=each * (number - 1))
            for number in range(1, len(head["voxels"]) + 1)
        }
        return reading_from(head["expected"], arrays, size)
    except SealFault:
        raise
    except (zlib.error, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SealFault(f"is no answer that was kept ({type(error).__name__})") from error


def _unpacked(data: bytes) -> bytes:
    reading = zlib.decompressobj()
    plain = reading.decompress(data, UNPACKED_BYTES_MAX)
    if not reading.eof or reading.unused_data:
        raise SealFault("ends before its end, or goes on after it")
    return plain
