"""Publish and recall releases: checked, counted and signed on the publisher's machine.

Promises: a package that does not open is never published; a version number means one digest for ever;
the counter of a model only grows; the bytes lie in place before a list names them, and the timestamp is last.
Never: signs with a key of the server what devices hold to be offline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.disk.durable import DurableFile, make_folder
from appliance.sync.release import IMAGE, Needs, Release, Target, model_path, release_of
from models.package import Package, PackageError, open_package, pack
from provisioning.registry.book import Book
from provisioning.registry.faults import RegistryFault

_CHUNK_BYTES = 1 << 20


def publish(
    book: Book, path: Path, holders: Sequence[Path], *, readside: str = "0.0.0", engines: Sequence[str] = ()
) -> Release:
    """Put a package into the registry, signed with the keys in `holders`; return its release.

    The same package again is signed anew under the counter that it has.

    Raises:
        RegistryFault: the package has faults, its version is taken, or the keys are too few.
    """
    with book.alone(), TemporaryDirectory(dir=book.folder, prefix=".publish.") as scratch:
        package, packed = _packed(path, Path(scratch))
        signers = book.offline_signers(holders)
        release = _release(book, package, readside=readside, engines=engines)
        target = _target(packed, release)
        lists = book.lists(IMAGE)
        lists.check_signers(signers)
        _put(packed, book.layout.targets(IMAGE) / target.place)
        targets = lists.targets()
        lists.add(targets, target)
        lists.write_targets(targets, signers)
        book.remember(holders)
        if book.may_stamp(IMAGE):
            book.stamp(IMAGE)
        return release


def recall(book: Book, name: str, version: str, holders: Sequence[Path], *, reason: str) -> Release:
    """Say, signed offline, that a release must not be used any more; its bytes stay for who holds them.

    Raises:
        RegistryFault: there is no such release, or the keys are too few.
    """
    said = reason.strip()[: book.limits.reason_characters_max]
    if not said:
        raise RegistryFault("a recall needs a reason; devices show it")
    with book.alone():
        signers = book.offline_signers(holders)
        lists = book.lists(IMAGE)
        target = lists.target(model_path(name, version))
        if target is None:
            raise RegistryFault(f"{name} {version} was never published here")
        release = replace(release_of(target), recalled=said)
        targets = lists.targets()
        lists.add(targets, replace(target, custom=release.as_custom()))
        lists.write_targets(targets, signers)
        book.remember(holders)
        if book.may_stamp(IMAGE):
            book.stamp(IMAGE)
        return release


def releases(book: Book) -> list[Release]:
    """Return every release, by name and counter."""
    found = [release_of(target) for target in book.lists(IMAGE).every_target()]
    return sorted(found, key=lambda release: (release.name, release.counter))


def _packed(path: Path, scratch: Path) -> tuple[Package, Path]:
    """Open a package and give it as the zip that every device will get: the same files, the same bytes."""
    try:
        folder = path
        if not path.is_dir():
            folder = make_folder(scratch / "package")
            open_package(path, unpack_into=folder)
        pack(folder, scratch / "package.zip")
        return open_package(folder), scratch / "package.zip"
    except PackageError as error:
        raise RegistryFault("the package has faults: " + "; ".join(error.faults)) from error


def _release(book: Book, package: Package, *, readside: str, engines: Sequence[str]) -> Release:
    manifest = package.manifest
    own = [release for release in releases(book) if release.name == manifest.name]
    same = next((release for release in own if release.version == manifest.version), None)
    if same is not None and same.digest != package.digest:
        raise RegistryFault(
            f"{manifest.name} {manifest.version} is published with the digest {same.digest}; this package has"
            f" {package.digest}: give it another version"
        )
    if same is not None and same.recalled:
        raise RegistryFault(f"{manifest.name} {manifest.version} was recalled: give it another version")
    needs = Needs(
        readside=readside,
        memory_mib=manifest.resources.memory_mib,
        unpacked_bytes=sum(file.stat().st_size for file in package.root.rglob("*") if file.is_file()),
        engines=tuple(engines),
    )
    counter = same.counter if same is not None else 1 + max((one.counter for one in own), default=0)
    release = Release(
        name=manifest.name,
        version=manifest.version,
        digest=package.digest,
        counter=counter,
        published_at=float(int(book.clock.now())),
        needs=needs,
    )
    return _sayable(release)


def _sayable(release: Release) -> Release:
    """Read a release as a device will, before anybody signs it."""
    path = model_path(release.name, release.version)
    try:
        return release_of(Target(path=path, length=0, sha256="", custom=release.as_custom()))
    except ValueError as error:
        raise RegistryFault(f"this release cannot be published: {error}") from error


def _target(packed: Path, release: Release) -> Target:
    with packed.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    path = model_path(release.name, release.version)
    return Target(path=path, length=packed.stat().st_size, sha256=sha256, custom=release.as_custom())


def _put(packed: Path, place: Path) -> None:
    """Copy the bytes into the public tree, durably; a file's name holds its hash, so it never changes."""
    make_folder(place.parent)
    temporary = place.with_name(f".{place.name}.new")
    temporary.unlink(missing_ok=True)
    with packed.open("rb") as source, DurableFile(temporary) as file:
        while chunk := source.read(_CHUNK_BYTES):
            file.write(chunk)
        file.commit(place)
    assert place.stat().st_size == packed.stat().st_size
