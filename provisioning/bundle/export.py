"""Write a bundle: what some slots need of a registry, on a stick, stamped for ninety days.

Promises: the list of releases is the one that was signed offline, byte for byte; nothing is on the stick that
no named slot needs; a stick that was pulled is gone on with; the stamps are written last, so that a stick has
the former bundle whole or the new one.
Never: stamps what does not hold under the registry's own roots, or follows a link on the stick.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.disk.durable import DiskFault, DurableFile, NoSpace, make_folder, write_file
from appliance.sync.release import (
    DIRECTOR,
    IMAGE,
    METADATA,
    MODELS,
    TARGETS,
    Target,
    device_path,
    provenance_path,
    release_of,
)
from provisioning.bundle import parts
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits
from provisioning.bundle.names import check_names
from provisioning.bundle.stamps import signer_of
from provisioning.registry.book import Book
from provisioning.registry.promote import assignments

FOLDER = "readside"
Told = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file of the stick: `length` bytes of `source` from `start` on."""

    source: Path
    place: str
    start: int
    length: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a stick holds now; `copied_bytes` of it had not been there; `until` in epoch seconds."""

    slots: tuple[str, ...]
    releases: tuple[str, ...]
    total_bytes: int
    copied_bytes: int
    until: float


def export(
    book: Book,
    slots: Sequence[str],
    stick: Path,
    *,
    limits: BundleLimits = DEFAULT,
    told: Told = lambda _have, _of: None,
) -> Exported:
    """Put onto the stick what these slots are assigned.

    Raises:
        BundleFault: a slot is unknown, a name cannot be on a stick, or the stick fails; what is there stays.
        RegistryFault: the registry is not sound.
    """
    with book.alone():
        made = _Export(book=book, slots=tuple(sorted(set(slots))), limits=limits)
        pieces, small = made.pieces(), made.signed()
    # A slow stick keeps nobody from the registry: releases never change, and the rest is in memory.
    check_names([*small, *(one.place for one in pieces)], limits=limits)
    with _on(stick):
        copied = _write(_folder(stick), pieces, small, limits, told)
    return Exported(
        slots=made.slots,
        releases=made.releases,
        total_bytes=sum(piece.length for piece in pieces),
        copied_bytes=copied,
        until=book.clock.now() + book.limits.bundle_seconds,
    )


class _Export:
    """What the named slots need, read from a registry that is sound."""

    def __init__(self, *, book: Book, slots: tuple[str, ...], limits: BundleLimits) -> None:
        self.slots, self._book, self._limits = slots, book, limits
        if not slots or len(slots) > limits.slots_max:
            raise BundleFault(f"name between one slot and {limits.slots_max} with --device")
        self._signer = signer_of(book)
        for repository in (IMAGE, DIRECTOR):
            book.lists(repository).verify(book.lists(repository).root_bytes())
        book.bundle_lists(IMAGE).adopt(book.lists(IMAGE))
        self._needed = self._targets(slots)
        self._cuts = {
            target.sha256: cuts
            for target in self._needed
            if (cuts := parts.cuts_of(self._source(target), limits=limits))
        }

    @property
    def releases(self) -> tuple[str, ...]:
        """Return the releases on the stick."""
        models = [target for target in self._needed if target.path.startswith(MODELS)]
        return tuple(f"{one.name} {one.version}" for one in map(release_of, models))

    def pieces(self) -> list[Piece]:
        """Return the files of the image repository."""
        return [piece for target in self._needed for piece in self._pieces_of(target)]

    def signed(self) -> dict[str, bytes]:
        """Stamp both repositories anew; return their lists and the director's files, by place."""
        files = [*self._assignments(), *self._lists_of_parts()]
        director, image = self._book.bundle_lists(DIRECTOR), self._book.bundle_lists(IMAGE)
        director.rewrite([target for target, _ in files], [self._signer])
        found = {f"{DIRECTOR}/{TARGETS}/{target.place}": data for target, data in files}
        for repository, lists in ((IMAGE, image), (DIRECTOR, director)):
            lists.stamp([self._signer], [self._signer])
            lists.forget_former()
            for path in lists.newest_files():
                found[f"{repository}/{METADATA}/{path.name}"] = path.read_bytes()
        return found

    def _assignments(self) -> Iterator[tuple[Target, bytes]]:
        lists = self._book.lists(DIRECTOR)
        for slot in self.slots:
            target = lists.target(device_path(slot))
            assert target is not None, "its assignment was read"
            yield target, (self._folder(DIRECTOR) / target.place).read_bytes()

    def _lists_of_parts(self) -> Iterator[tuple[Target, bytes]]:
        for sha256, cuts in self._cuts.items():
            data = parts.list_bytes(sha256, cuts)
            digest, path = hashlib.sha256(data).hexdigest(), parts.list_path(sha256)
            yield Target(path=path, length=len(data), sha256=digest, custom={}), data

    def _targets(self, slots: Sequence[str]) -> list[Target]:
        known, image = assignments(self._book), self._book.bundle_lists(IMAGE)
        found: dict[str, Target] = {}
        for slot in slots:
            if slot not in known:
                raise BundleFault(f"{slot} is not claimed in this registry")
            for line in known[slot]:
                target = image.target(line.target)
                if target is None or (target.length, target.sha256) != (line.length, line.sha256):
                    raise BundleFault(
                        f"{slot} is assigned {line.name} {line.version}, which was not signed offline so"
                    )
                if release_of(target).recalled:
                    continue
                found[target.path] = target
                if (beside := image.target(provenance_path(line.name, line.version))) is not None:
                    found[beside.path] = beside
        return list(found.values())

    def _pieces_of(self, target: Target) -> Iterator[Piece]:
        source, place = self._source(target), f"{IMAGE}/{TARGETS}/{target.place}"
        if target.sha256 not in self._cuts:
            yield Piece(source=source, place=place, start=0, length=target.length, sha256=target.sha256)
        for cut in self._cuts.get(target.sha256, ()):
            yield Piece(
                source=source,
                place=place + cut.suffix,
                start=cut.start,
                length=cut.length,
                sha256=cut.sha256,
            )

    def _source(self, target: Target) -> Path:
        path = self._folder(IMAGE) / target.place
        if not path.is_file() or path.stat().st_size != target.length:
            raise BundleFault(f"{path.name} is missing in the registry, or not as long as it was signed")
        return path

    def _folder(self, repository: str) -> Path:
        return self._book.layout.targets(repository)


def _write(
    folder: Path, pieces: Sequence[Piece], small: Mapping[str, bytes], limits: BundleLimits, told: Told
) -> int:
    """Write everything, the stamps last; return how many bytes of files were copied."""
    missing = [piece for piece in pieces if not _is_there(folder, piece)]
    total, lacking = sum(one.length for one in pieces), sum(one.length for one in missing)
    short = lacking - shutil.disk_usage(folder).free
    if short > 0:
        raise BundleFault(f"the stick lacks {short / 1e6:.0f} MB of room; take away what is not needed on it")
    have = total - lacking
    for piece in missing:
        _copy(folder, piece, limits)
        have += piece.length
        told(have, total)
    for place in sorted(small, key=lambda one: one.endswith("/timestamp.json")):
        _put(folder / place, small[place])
    _prune(folder, {*small, *(one.place for one in pieces)})
    return lacking


def _is_there(folder: Path, piece: Piece) -> bool:
    path = folder / piece.place
    if not path.is_file() or path.stat().st_size != piece.length:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == piece.sha256


def _copy(folder: Path, piece: Piece, limits: BundleLimits) -> None:
    place = folder / piece.place
    make_folder(place.parent)
    temporary = place.with_name(f".{place.name}.new")
    temporary.unlink(missing_ok=True)
    digest = hashlib.sha256()
    with piece.source.open("rb") as source, DurableFile(temporary) as file:
        source.seek(piece.start)
        for chunk in parts.pieces(source, piece.length, limits=limits):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != piece.sha256:
            raise BundleFault(f"{piece.source.name} in the registry is not what was signed")
        file.commit(place)


def _put(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    write_file(path, data)


def _prune(folder: Path, kept: set[str]) -> None:
    """Remove what the former bundle had and this one does not."""
    for repository in (IMAGE, DIRECTOR):
        for path in sorted((folder / repository).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(folder).as_posix() not in kept:
                path.unlink()


def _folder(stick: Path) -> Path:
    """Return the bundle's folder on a stick, on which nothing is a link."""
    if not stick.is_dir():
        raise BundleFault(f"{stick} is no folder: name the place where the stick is mounted")
    folder = stick / FOLDER
    if folder.is_symlink() or any(path.is_symlink() for path in folder.rglob("*")):
        raise BundleFault(f"{folder} holds a link, which no bundle does: look at who wrote it, and empty it")
    return make_folder(folder)


@contextmanager
def _on(stick: Path) -> Iterator[None]:
    """Say what became of a stick."""
    try:
        yield
    except NoSpace as error:
        raise BundleFault(f"{stick}: the stick is full; take away what is not needed on it") from error
    except (DiskFault, OSError) as error:
        raise BundleFault(
            f"{stick}: the stick was pulled or failed ({type(error).__name__}); the same command goes on with"
            " it"
        ) from error
