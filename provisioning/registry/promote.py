"""The director: which device should run which release, signed with the server's own keys.

Promises: only releases of the image repository are assigned, with the length and hash that stand there.
Never: touches an offline key. Whoever steals the director's keys can assign what is genuine, and no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from appliance.disk.durable import make_folder, write_file
from appliance.sync.release import (
    DIRECTOR,
    IMAGE,
    Assigned,
    FormError,
    Release,
    Target,
    assignment_bytes,
    assignment_of,
    device_path,
    is_name,
    model_path,
    release_of,
)
from provisioning.registry.book import TARGETS, Book
from provisioning.registry.faults import RegistryFault

ROOTS = {IMAGE: "image.root.json", DIRECTOR: "director.root.json"}
FLOORS = "floors.json"


def promote(book: Book, name: str, version: str, devices: Sequence[str], *, shadow: bool = False) -> Release:
    """Assign a release to devices; what else they are assigned stays. Return the release.

    With `shadow` it runs beside what they are assigned of that model and releases nothing; a release that is
    assigned to serve is a shadow no longer.

    Raises:
        RegistryFault: there is no such release, it was recalled, or a device is unknown or has no name; a
            shadow is assigned to serve already.
    """
    with book.alone():
        image = book.lists(IMAGE).target(model_path(name, version))
        if image is None:
            raise RegistryFault(f"{name} {version} was never published here")
        release = release_of(image)
        if release.recalled:
            raise RegistryFault(f"{name} {version} was recalled: {release.recalled}")
        line = Assigned(
            name=name,
            version=version,
            target=image.path,
            length=image.length,
            sha256=image.sha256,
            shadow=shadow,
        )
        _assign(book, {device: _with(lines, line) for device, lines in _of(book, devices).items()})
        return release


def end_shadow(book: Book, name: str, devices: Sequence[str]) -> None:
    """Take the shadow of a model off devices; one that has none is left as it is.

    Raises:
        RegistryFault: a device is unknown, or none is named.
    """
    _take_off(book, name, devices, shadow=True)


def withdraw(book: Book, name: str, devices: Sequence[str]) -> None:
    """Assign devices no release of a model; what serves there goes on serving.

    Raises:
        RegistryFault: a device is unknown, or none is named.
    """
    _take_off(book, name, devices, shadow=False)


def _take_off(book: Book, name: str, devices: Sequence[str], *, shadow: bool) -> None:
    with book.alone():
        kept = {
            device: [one for one in lines if (one.name, one.shadow) != (name, shadow)]
            for device, lines in _of(book, devices).items()
        }
        _assign(book, kept)


def claim(book: Book, device: str, out: Path) -> None:
    """Make a device known, and write what it must be given: both roots, and the floors it begins with.

    A device that is known keeps its assignment; its new hardware begins with the counters that it had.

    Raises:
        RegistryFault: the name cannot be one, or there are too many devices.
    """
    make_known(book, device)
    make_folder(out)
    for name, data in given(book, device).items():
        write_file(out / name, data)


def make_known(book: Book, device: str) -> None:
    """Make a device known, with no assignment; one that is known keeps its own.

    Raises:
        RegistryFault: the name cannot be one, or there are too many devices.
    """
    if not is_name(device):
        raise RegistryFault(f"{device!r} is no name: letters, digits, dot, dash, underline, at most 64")
    with book.alone():
        known = assignments(book)
        if device not in known:
            if len(known) >= book.limits.devices_max:
                raise RegistryFault(f"this registry has {len(known)} devices, the most that it can hold")
            _assign(book, {device: []})


def given(book: Book, device: str) -> dict[str, bytes]:
    """Return what a known device is given, by file name: both roots, and the floors it begins with.

    Raises:
        RegistryFault: it is not known.
    """
    with book.alone():
        known = assignments(book)
        if device not in known:
            raise RegistryFault(f"{device} is not claimed here; see `readside registry claim`")
        files = {name: book.lists(repository).root_bytes() for repository, name in ROOTS.items()}
        return {**files, FLOORS: json.dumps(_floors(book, known[device]), indent=1).encode()}


def assignments(book: Book) -> dict[str, list[Assigned]]:
    """Return what each device is assigned.

    Raises:
        RegistryFault: an assignment that the list names is not there or was changed.
    """
    folder = book.layout.targets(DIRECTOR)
    found = {}
    for target in book.lists(DIRECTOR).every_target():
        device = Path(target.path).stem if target.path.endswith(".json") else ""
        try:
            data = (folder / target.place).read_bytes()
            if hashlib.sha256(data).hexdigest() != target.sha256:
                raise FormError("it was changed")
            found[device] = assignment_of(data, device)
        except (OSError, FormError) as error:
            raise RegistryFault(
                f"the assignment of {device} cannot be read ({type(error).__name__})"
            ) from error
    return found


def _of(book: Book, devices: Sequence[str]) -> dict[str, list[Assigned]]:
    """Return what the named devices are assigned."""
    if not devices:
        raise RegistryFault(
            "no device is named, or this registry knows none yet; see `readside registry claim`"
        )
    known = assignments(book)
    for device in devices:
        if device not in known:
            raise RegistryFault(f"{device} is not claimed here; see `readside registry claim`")
    return {device: known[device] for device in devices}


def _with(lines: Sequence[Assigned], line: Assigned) -> list[Assigned]:
    """Return a device's lines with one more, which replaces the one of its kind."""
    same = [one for one in lines if (one.name, one.version) == (line.name, line.version)]
    if line.shadow and any(not one.shadow for one in same):
        raise RegistryFault(f"{line.name} {line.version} is assigned to serve there: it is no shadow")
    others = [one for one in lines if (one.name, one.shadow) != (line.name, line.shadow) and one not in same]
    return sorted([*others, line], key=lambda one: (one.name, one.shadow))


def _assign(book: Book, changed: dict[str, list[Assigned]]) -> None:
    lists = book.lists(DIRECTOR)
    targets = lists.targets()
    for device, lines in changed.items():
        data = assignment_bytes(device, lines)
        target = Target(
            path=device_path(device), length=len(data), sha256=hashlib.sha256(data).hexdigest(), custom={}
        )
        place = book.layout.targets(DIRECTOR) / target.place
        make_folder(place.parent)
        write_file(place, data)
        lists.add(targets, target)
    lists.write_targets(targets, book.online(DIRECTOR)[TARGETS])
    book.stamp(DIRECTOR)


def _floors(book: Book, lines: Sequence[Assigned]) -> dict[str, object]:
    image = book.lists(IMAGE)
    counters = {}
    for line in lines:
        target = image.target(line.target)
        if target is not None:
            counters[line.name] = release_of(target).counter
    return {
        "clock_at": int(book.clock.now()),
        "targets_version": image.targets().version,
        "targets_keys": image.signed_by(TARGETS),
        "counters": counters,
    }
