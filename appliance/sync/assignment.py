"""What this device should run: an assignment that both repositories must agree on, and what forbids it.

Promises: nothing is wanted that the director does not assign to this device and the image repository does not
list with the same length and hash; nothing recalled, older than what served, rejected before, or unfit.
Never: fetches anything; all of this is known before the first byte of a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as version_of

from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.sync.floors import Floors
from appliance.sync.proof import room_bytes
from appliance.sync.refusal import RETURNED, Refusal, Word
from appliance.sync.release import (
    PACKAGE_FORMAT,
    Assigned,
    FormError,
    Release,
    Target,
    assignment_of,
    device_path,
    provenance_path,
    release_of,
)
from appliance.sync.trust import Listing, Trust

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A release that this device should run, and its bytes as the offline keys signed them.

    `provenance` is the signature of who made the model, where one came with it.
    """

    release: Release
    target: Target
    provenance: Target | None = None


def assigned_to(device: str, director: Trust, listing: Listing) -> list[Assigned]:
    """Return the assignment of this device.

    Raises:
        Refusal: UNASSIGNED when the director does not know it; UNKNOWN_FORM; or the bytes do not come.
    """
    target = listing.targets.get(device_path(device))
    if target is None:
        raise Refusal(Word.UNASSIGNED, f"the director assigns nothing to a device called {device}")
    try:
        return assignment_of(director.target_bytes(target), device)
    except FormError as error:
        raise Refusal(Word.UNKNOWN_FORM, str(error)) from error


def agreed(one: Assigned, image: Listing) -> Wanted:
    """Return what is assigned as the image repository has it.

    Raises:
        Refusal: DISAGREE when it does not have it, or has other bytes under its name; UNKNOWN_FORM.
    """
    target = image.targets.get(one.target)
    if target is None:
        raise Refusal(Word.DISAGREE, "the director assigns a release that was never signed offline")
    if (target.length, target.sha256) != (one.length, one.sha256):
        raise Refusal(Word.DISAGREE, "the director assigns other bytes than those that were signed offline")
    try:
        release = release_of(target)
    except FormError as error:
        raise Refusal(Word.UNKNOWN_FORM, str(error)) from error
    beside = image.targets.get(provenance_path(release.name, release.version))
    return Wanted(release=release, target=target, provenance=beside)


def releases_of(name: str, image: Listing) -> list[Release]:
    """Return the releases of a model that can be read."""
    found = []
    for target in image.targets.values():
        try:
            release = release_of(target)
        except FormError:
            continue
        if release.name == name:
            found.append(release)
    return found


def permit(
    release: Release,
    image: Listing,
    floors: Floors,
    config: Config,
    *,
    back_from: str = "",
    back_to: str = "",
) -> None:
    """Hold a release against what forbids it on this device.

    The director may take back the newest release that served here: from `back_from`, which serves, to
    `back_to`, which served before it, both digests. That is one step: below the floor nothing is the newest.

    Raises:
        Refusal: RECALLED, ROLLBACK, REJECTED or INCOMPATIBLE.
    """
    if release.recalled:
        raise Refusal(Word.RECALLED, f"it was recalled: {release.recalled}")
    floor = floors.counters.get(release.name, 0)
    if release.digest != back_to or floor not in _counters(back_from, image):
        _not_older(release, image, floor)
    if (before := floors.refused.get(release.digest)) is not None and before.word in RETURNED:
        raise Refusal(
            Word(before.word),
            f"this device went back from it at {as_text(before.at)}, and does not try again:"
            f" {before.sentence}",
        )
    if before is not None:
        raise Refusal(
            Word.REJECTED, f"this device rejected it before, and does not try again: {before.sentence}"
        )
    if faults := unfit(release, config):
        raise Refusal(Word.INCOMPATIBLE, "; ".join(faults))


def not_held(wanted: Wanted, floors: Floors) -> None:
    """Hold a release against what a person chose at the box since it served.

    Raises:
        Refusal: HELD.
    """
    if floors.settled.get(wanted.release.name) == wanted.release.digest:
        raise Refusal(
            Word.HELD,
            "it served because it was assigned, and a person at this box chose another version since; that"
            " one stays until another is assigned, or until `readside registry sync --again`",
        )


def unfit(release: Release, config: Config) -> list[str]:
    """Say what this device lacks for a release."""
    needs, own = release.needs, version_of("readside")
    faults = []
    if needs.package_format > PACKAGE_FORMAT:
        faults.append(f"its package is of format {needs.package_format}; this box knows {PACKAGE_FORMAT}")
    if _numbers(needs.readside) > _numbers(own):
        faults.append(f"it needs Readside {needs.readside}; this is {own}")
    room = room_bytes(config)
    if room is not None and needs.memory_mib * _MIB > room:
        faults.append(f"it needs {needs.memory_mib} MiB of memory; {room // _MIB} MiB are allowed here")
    if needs.engines and not set(needs.engines) & set(config.inference.engines):
        faults.append(f"it needs one of the engines {', '.join(needs.engines)}")
    return faults


def _counters(digest: str, image: Listing) -> set[int]:
    """Return the counters under which a package is listed."""
    found = set()
    for target in image.targets.values():
        try:
            release = release_of(target)
        except FormError:
            continue
        if release.digest == digest:
            found.add(release.counter)
    return found


def _not_older(release: Release, image: Listing, floor: int) -> None:
    """Refuse to go back, except from releases that were recalled: that is signed offline too."""
    if release.counter >= floor:
        return
    above = [one for one in releases_of(release.name, image) if release.counter < one.counter <= floor]
    if any(one.counter == floor for one in above) and all(one.recalled for one in above):
        return
    raise Refusal(
        Word.ROLLBACK,
        f"it is release {release.counter} of this model, and release {floor} served here: that one must be"
        " recalled first",
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Return a version's numbers; what is not a number ends them."""
    numbers = []
    for part in text.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits or 0))
    return tuple(numbers)
