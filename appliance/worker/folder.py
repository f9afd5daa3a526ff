"""Instances out of a folder of DICOM files, for work without a PACS.

Every file is judged as if it had come over the network.
A file that is no readable instance is named with its reason, and the rest goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from appliance.core.instance import Instance, Location
from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.preflight import Scan, inspect, scan

_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_META_GROUP = 0x0002
_TRANSFER_SYNTAX_UID = 0x00020010
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_SHORT = Struct("<HH2sH")
_LONG_LENGTH = Struct("<I")
_LONG_VRS = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"UC", b"UR"})


class _NoInstance(Exception):
    """A file holds no readable instance; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file that was passed over: its path under the folder, and why in a few words."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FolderReader:
    """Reads data sets out of the files of a folder; see `appliance.worker.reading.Reader`."""

    root: Path

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read `length` bytes, or all, from `offset` bytes after the start of the data set.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        left = location.length - offset
        with (self.root / location.file).open("rb", buffering=0) as file:
            file.seek(location.offset + offset)
            return file.read(max(left if length is None else min(length, left), 0))


@dataclass(frozen=True, kw_only=True)
class FolderContent:
    """What a folder holds: instances in the order of their file names, the files passed over, a reader."""

    instances: tuple[Instance, ...]
    unreadable: tuple[Unreadable, ...]
    reader: FolderReader

    def by_series(self) -> dict[str, list[Instance]]:
        """Group the instances by Series Instance UID, in the order the series appear."""
        series: dict[str, list[Instance]] = {}
        for instance in self.instances:
            series.setdefault(instance.series_uid, []).append(instance)
        return series


def instances_from_folder(path: Path, *, limits: Limits | None = None) -> FolderContent:
    """Read the header of every DICOM file (PS3.10 7) under a folder, sub-folders included.

    Raises:
        NotADirectoryError: there is no such folder.
    """
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")
    instances: dict[str, Instance] = {}
    unreadable = []
    for name, file in _files(path):
        try:
            instance = _instance(name, file, limits or Limits())
            first = instances.setdefault(instance.sop_instance_uid, instance)
            if first is not instance:
                raise _NoInstance(f"is the same instance as {first.location.file}")
        except Refusal as refusal:
            unreadable.append(Unreadable(name=name, reason=refusal.comment))
        except _NoInstance as error:
            unreadable.append(Unreadable(name=name, reason=str(error)))
        except OSError as error:
            unreadable.append(Unreadable(name=name, reason=error.strerror or type(error).__name__))
    return FolderContent(
        instances=tuple(instances.values()), unreadable=tuple(unreadable), reader=FolderReader(root=path)
    )


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    found = sorted(file for file in root.rglob("*") if file.is_file())
    yield from ((file.relative_to(root).as_posix(), file) for file in found)


def _instance(name: str, file: Path, limits: Limits) -> Instance:
    if file.stat().st_size > limits.instance_bytes_max:
        raise _NoInstance("is larger than an instance may be")
    whole = file.read_bytes()
    transfer_syntax_uid, start = _meta(whole)
    data = whole[start:]
    judged = scan(data, transfer_syntax_uid, limits)
    # The data set says who it is; file meta information that disagrees was left behind by some tool.
    header = inspect(
        data,
        judged,
        sop_class_uid=_uid(data, judged, _SOP_CLASS_UID),
        sop_instance_uid=_uid(data, judged, _SOP_INSTANCE_UID),
    )
    return Instance(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        location=Location(file=name, offset=start, length=len(data)),
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
        pixel_offset=header.pixel_offset,
        pixel_bytes=header.pixel_bytes,
        facts=header.facts,
    )


def _meta(whole: bytes) -> tuple[str, int]:
    """Find the transfer syntax and where the data set starts (PS3.10 7.1)."""
    at = _PREAMBLE_BYTES + len(_PREFIX)
    if whole[_PREAMBLE_BYTES:at] != _PREFIX:
        raise _NoInstance("is not a DICOM file")
    transfer_syntax_uid = ""
    while at + _SHORT.size <= len(whole):
        group, element, vr, length = _SHORT.unpack_from(whole, at)
        if group != _META_GROUP:
            break
        at += _SHORT.size
        if vr in _LONG_VRS and at + _LONG_LENGTH.size <= len(whole):
            (length,) = _LONG_LENGTH.unpack_from(whole, at)
            at += _LONG_LENGTH.size
        if (group << 16) + element == _TRANSFER_SYNTAX_UID:
            transfer_syntax_uid = _text(whole[at : at + length])
        at += length
    if not transfer_syntax_uid:
        raise _NoInstance("does not say its transfer syntax")
    return transfer_syntax_uid, at


def _uid(data: bytes, judged: Scan, tag: int) -> str:
    span = judged.elements.get(tag)
    return "" if span is None else _text(data[span.offset : span.offset + min(span.length, 128)])


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").rstrip(" \0")
