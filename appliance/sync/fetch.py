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
from appliance.sync.sources import Pace, sources_of

Told = Callable[[int, int], None]
_PART, _WHOLE = ".part", ".zip"
# Nothing of what came is of use.
_WRONG = (Word.TAMPERED, Word.ENDLESS_DATA)


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
        _from_any(carrier, target, part, limits, told)
        part.commit(whole)
    return whole


def _from_any(carrier: Carrier, target: Target, part: PartialFile, limits: FetchLimits, told: Told) -> None:
    """Fill the part from the first source that can; what one began the next goes on with.

    What is wrong in the end may be the fault of one that began it: then the one that ended it gives it whole.
    """
    *copies, last = sources_of(carrier)
    for source in copies:
        try:
            _from_one(source, target, part, limits, told)
        except Refusal as refusal:
            if refusal.word is Word.STOPPED:
                raise
            if refusal.word in _WRONG:
                part.restart()
        else:
            return
    try:
        _from_one(last, target, part, limits, told)
    except Refusal as refusal:
        if refusal.word in _WRONG:
            part.remove()
        raise


def _from_one(carrier: Carrier, target: Target, part: PartialFile, limits: FetchLimits, told: Told) -> None:
    began = part.length
    if began < target.length:
        _continue(carrier, target, part, limits, told)
    if _is_right(part.path, target):
        return
    if began:
        part.restart()
        _continue(carrier, target, part, limits, told)
        if _is_right(part.path, target):
            return
    raise Refusal(Word.TAMPERED, "the bytes of the release are not those that were signed")


def clear(folder: Path, *, but: frozenset[str] = frozenset()) -> None:
    """Remove what was fetched and is not asked for any more; `but` are the hashes that still are."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix in (_PART, _WHOLE) and path.stem not in but:
            path.unlink(missing_ok=True)


def _continue(carrier: Carrier, target: Target, part: PartialFile, limits: FetchLimits, told: Told) -> None:
    path = f"{IMAGE}/{TARGETS}/{target.place}"
    pace = Pace(limits.bytes_per_second_max)
    seconds = limits.start_seconds + (target.length - part.length) / limits.bytes_per_second_min
    try:
        with carrier.part(path, start=part.length, seconds_max=seconds) as found:
            if found.start != part.length:
                if found.start:
                    raise Refusal(Word.NOT_A_REGISTRY, "the server gives another part than it was asked for")
                part.restart()
            for chunk in found.chunks:
                if part.length + len(chunk) > target.length:
                    raise Refusal(Word.ENDLESS_DATA, "more bytes came than the release was signed to have")
                part.write(chunk)
                told(part.length, target.length)
                pace.spend(len(chunk))
    except NotThere as error:
        raise Refusal(Word.NOT_A_REGISTRY, "the registry does not have the bytes of the release") from error
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
