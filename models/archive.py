"""Zip in and out, for packages only.

Promises: what is unpacked lies under the folder that was given, as plain files, within the bounds; what is
packed is the same bytes for the same files.
Never: follows a link, or trusts a size the archive states about itself.
"""

import shutil
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from models.limits import PackageLimits

_EPOCH = (1980, 1, 1, 0, 0, 0)
_SYMLINK, _TYPE_MASK = 0o120000, 0o170000
_CHUNK_BYTES = 1 << 20


class ArchiveError(ValueError):
    """The zip cannot be unpacked safely."""


def unpack(archive: Path, into: Path, limits: PackageLimits) -> None:
    """Unpack `archive` under `into`, which must exist and be empty.

    Raises:
        ArchiveError: not a zip, a damaged one, a name that leads outside, a link, or more than the bounds.
    """
    if any(into.iterdir()):
        raise ArchiveError("the folder to unpack into is not empty")
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [member for member in zipped.infolist() if not member.is_dir()]
            _check_names(members, limits)
            _check_size(members, archive.stat().st_size, limits)
            for member in members:
                _extract(zipped, member, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"cannot be unpacked ({type(error).__name__})") from error


def _check_names(members: list[zipfile.ZipInfo], limits: PackageLimits) -> None:
    if len(members) > limits.files_max:
        raise ArchiveError(f"holds {len(members)} files, more than {limits.files_max}")
    names = [member.filename for member in members]
    if len({name.casefold() for name in names}) < len(names):
        raise ArchiveError("holds the same name twice")
    for member in members:
        if not _is_safe(member.filename, limits):
            raise ArchiveError("holds a name that leads outside the package or cannot be a file name")
        if (member.external_attr >> 16) & _TYPE_MASK == _SYMLINK:
            raise ArchiveError("holds a symbolic link")


def _is_safe(name: str, limits: PackageLimits) -> bool:
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    return (
        plain
        and len(name) <= limits.name_characters_max
        and name.isprintable()
        and not any(letter in name for letter in '\\:*?"<>|')
        and not PurePosixPath(name).is_absolute()
    )


def _check_size(members: list[zipfile.ZipInfo], packed_bytes: int, limits: PackageLimits) -> None:
    """Refuse by the stated sizes; `_extract` then holds every member to its own."""
    total = sum(member.file_size for member in members)
    if total > limits.bytes_max:
        raise ArchiveError(f"holds {total} bytes, more than {limits.bytes_max}")
    if total > packed_bytes * limits.ratio_max:
        raise ArchiveError(f"unpacks to more than {limits.ratio_max} times its size")


def _extract(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path) -> None:
    target = into / member.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(member) as source, target.open("xb") as out:
        _copy(source, out, member.file_size)


def _copy(source: IO[bytes], out: IO[bytes], stated_bytes: int) -> None:
    left = stated_bytes
    while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise ArchiveError("holds a file longer than it states")
        out.write(chunk)


def pack(files: Iterable[tuple[str, Path]], out: Path) -> None:
    """Write `files`, (name, path) in order, to a zip with fixed dates and modes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, path in files:
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            with path.open("rb") as source, zipped.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
