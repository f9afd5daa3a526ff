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
from appliance.sync.provenance import BYTES_MAX, differences, statement_of
from appliance.sync.release import (
    IMAGE,
    MODELS,
    Needs,
    Release,
    Target,
    model_path,
    provenance_path,
    release_of,
)
from models.package import Package, PackageError, open_package, pack
from provisioning.registry.book import Book
from provisioning.registry.faults import RegistryFault

_CHUNK_BYTES = 1 << 20


def publish(
    book: Book,
    path: Path,
    holders: Sequence[Path],
    *,
    readside: str = "0.0.0",
    engines: Sequence[str] = (),
    made_by: Path | None = None,
) -> Release:
    """Put a package into the registry, signed with the keys in `holders`; return its release.

    The same package again is signed anew under the counter that it has. `made_by` is a file with the
    signature of who made the model, which goes to every device beside it.

    Raises:
        RegistryFault: the package has faults, its version is taken, the keys are too few, or its maker signed
            other files.
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
        if made_by is not None:
            beside = _statement(package, made_by)
            _put(made_by, book.layout.targets(IMAGE) / beside.place)
            lists.add(targets, beside)
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
    targets = book.lists(IMAGE).every_target()
    found = [release_of(target) for target in targets if target.path.startswith(MODELS)]
    return sorted(found, key=lambda release: (release.name, release.counter))


def made_by(book: Book, release: Release) -> str:
    """Return the key's id that a release's maker named in the signature; empty where there is none."""
    target = book.lists(IMAGE).target(provenance_path(release.name, release.version))
    if target is None:
        return ""
    try:
        data = (book.layout.targets(IMAGE) / target.place).read_bytes()
        return statement_of(data).hint or "unnamed"
    except (OSError, ValueError) as error:
        raise RegistryFault(f"{target.path} cannot be read ({type(error).__name__})") from error


def _statement(package: Package, path: Path) -> Target:
    """Return the target of a maker's signature that fits the package; whose key it is, devices judge."""
    try:
        data = path.read_bytes()
        if len(data) > BYTES_MAX:
            raise ValueError("it is too large")
        if differs := differences(statement_of(data), package.root):
            raise ValueError(f"its maker signed other files: {', '.join(differs[:5])}")
    except (OSError, ValueError) as error:
        raise RegistryFault(f"{path}: {error}") from error
    place = provenance_path(package.manifest.name, package.manifest.version)
    return Target(path=place, length=len(data), sha256=hashlib.sha256(data).hexdigest(), custom={})


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
