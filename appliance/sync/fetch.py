"""Bring one release onto the box's disk: resumed where it broke off, bounded, and held against its hash.

Promises: what lies under the final name is exactly the signed bytes, durably; what came before a link broke
is kept and continued; a part that turns out wrong is removed, so that it cannot block the next attempt.
Never: reads past the signed length, or waits longer than the length is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from appliance.disk.durable import make_folder
from appliance.disk.partial import PartialFile
from appliance.sync.carrier import Carrier, NotThere
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import IMAGE, TARGETS, Target

Told = Callable[[int, int], None]
_PART, _WHOLE = ".part", ".zip"


def fetch(
    carrier: Carrier,
    target: Target,
    folder: Path,
    *,
    limits: FetchLimits = FETCH,
    told: Told = lambda _have, _of: None,
) -> Path:
    """Return the file of a target in `folder`, fetched unless it is there; `told` hears (bytes, of bytes).

    Raises:
        Refusal: TAMPERED or ENDLESS_DATA when the bytes are not the signed ones; else why they did not come.
        NoSpace, DiskFault: the disk is full or failed.
    """
    whole = make_folder(folder) / f"{target.sha256}{_WHOLE}"
    if whole.exists():
        if _is_right(whole, target):
            return whole
        whole.unlink()
    with PartialFile(folder / f"{target.sha256}{_PART}") as part:
        if part.length > target.length:
            part.restart()
        if part.length < target.length:
            _continue(carrier, target, part, limits, told)
        if not _is_right(part.path, target):
            part.remove()
            raise Refusal(Word.TAMPERED, "the bytes of the release are not those that were signed")
        part.commit(whole)
    return whole


def clear(folder: Path, *, but: frozenset[str] = frozenset()) -> None:
    """Remove what was fetched and is not asked for any more; `but` are the hashes that still are."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix in (_PART, _WHOLE) and path.stem not in but:
            path.unlink(missing_ok=True)


def _continue(carrier: Carrier, target: Target, part: PartialFile, limits: FetchLimits, told: Told) -> None:
    path = f"{IMAGE}/{TARGETS}/{target.place}"
    seconds = limits.start_seconds + (target.length - part.length) / limits.bytes_per_second_min
    try:
        with carrier.part(path, start=part.length, seconds_max=seconds) as found:
            if found.start != part.length:
                if found.start:
                    raise Refusal(Word.NOT_A_REGISTRY, "the server gives another part than it was asked for")
                part.restart()
            for chunk in found.chunks:
                if part.length + len(chunk) > target.length:
                    part.remove()
                    raise Refusal(Word.ENDLESS_DATA, "more bytes came than the release was signed to have")
                part.write(chunk)
                told(part.length, target.length)
    except NotThere as error:
        raise Refusal(Word.NOT_A_REGISTRY, "the registry does not have the bytes of the release") from error
    except Refusal as refusal:
        if refusal.word is Word.TAMPERED:
            part.remove()
        raise
    if part.length < target.length:
        raise Refusal(
            Word.CUT_OFF, f"{part.length} of {target.length} bytes came; the next turn goes on from there"
        )


def _is_right(path: Path, target: Target) -> bool:
    with path.open("rb") as file:
        return (
            path.stat().st_size == target.length
            and hashlib.file_digest(file, "sha256").hexdigest() == target.sha256
        )
