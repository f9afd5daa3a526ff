"""A file that is longer than a stick can hold at once: cut into parts, each with its hash in a signed list.

Promises: the list says length and hash of every part, so that a part that went bad is known by its number;
the parts one after another are the file.
Never: takes a list of another form, or one whose parts are not as long as the file was signed to be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits

_FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One part; `start` is its first byte's place in the file, `number` begins at 1."""

    number: int
    start: int
    length: int
    sha256: str

    @property
    def suffix(self) -> str:
        """Return what stands behind the file's name."""
        return f".{self.number:03d}"


def list_path(sha256: str) -> str:
    """Return the target path of the list of a file's parts."""
    return f"parts/{sha256}.json"


def spans(length: int, *, limits: BundleLimits = DEFAULT) -> list[tuple[int, int]]:
    """Return (start, length) of each part of a file; one that needs no cutting has none."""
    if length <= min(limits.part_bytes, limits.file_bytes_max):
        return []
    starts = range(0, length, limits.part_bytes)
    if len(starts) > limits.parts_max:
        raise BundleFault(f"a file of {length} bytes has more than {limits.parts_max} parts")
    return [(start, min(limits.part_bytes, length - start)) for start in starts]


def cuts_of(path: Path, *, limits: BundleLimits = DEFAULT) -> list[Cut]:
    """Return the parts of a file, read once."""
    made = []
    with path.open("rb") as file:
        for number, (start, length) in enumerate(spans(path.stat().st_size, limits=limits), 1):
            digest = hashlib.sha256()
            for chunk in pieces(file, length, limits=limits):
                digest.update(chunk)
            made.append(Cut(number=number, start=start, length=length, sha256=digest.hexdigest()))
    return made


def pieces(file: Any, length: int, *, limits: BundleLimits = DEFAULT) -> Iterator[bytes]:
    """Give the next bytes of a file, at most `length` of them."""
    left = length
    while left and (chunk := file.read(min(left, limits.chunk_bytes))):
        left -= len(chunk)
        yield chunk


def list_bytes(sha256: str, cuts: list[Cut]) -> bytes:
    """Write the list of a file's parts, for who signs it."""
    said = [{"length": cut.length, "sha256": cut.sha256} for cut in cuts]
    return json.dumps({"format": _FORMAT, "sha256": sha256, "parts": said}, indent=1).encode()


def list_of(data: bytes, sha256: str, *, limits: BundleLimits = DEFAULT) -> list[Cut]:
    """Read a list of parts whose signature holds.

    Raises:
        BundleFault: it has another form, or is another file's.
    """
    try:
        said = json.loads(data)
        if said["format"] != _FORMAT or said["sha256"] != sha256 or len(said["parts"]) > limits.parts_max:
            raise ValueError("another form")
        made, start = [], 0
        for number, one in enumerate(said["parts"], 1):
            length, digest = one["length"], one["sha256"]
            if type(length) is not int or not 0 < length <= limits.file_bytes_max:
                raise ValueError("a length")
            if not _SHA256.fullmatch(digest):
                raise ValueError("a hash")
            made.append(Cut(number=number, start=start, length=length, sha256=digest))
            start += length
        return made
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleFault("the list of a file's parts is of a form that is not known") from error
