"""The narrow door to the bytes: begin, write, commit to a location; read from a location, wherever it lies.

How the bytes lie on disk is this room's secret: what the box makes is one file for each object, what arrives
lies in segments (`appliance.spool.intake`). No name is ever made from what a sender says.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from appliance.core.instance import Location
from appliance.disk.durable import DurableFile, make_folder, remove_file, write_file
from appliance.spool.record import HEAD_BYTES, Record, encode
from appliance.spool.release import SEGMENT_FOLDER, SEGMENT_SUFFIX, release

_INCOMING = "incoming"
_SPARES = "spares"
_FOLDERS = "0123456789abcdef"


class Writing:
    """One instance on its way to disk; nothing of it can be found before `commit` returned."""

    def __init__(self, file: DurableFile, final: Path, name: str) -> None:
        self._file, self._final, self._name = file, final, name
        self._digest = hashlib.sha256()
        self._length = 0
        self._file.write(bytes(HEAD_BYTES))

    @property
    def length(self) -> int:
        """Return the bytes of the data set written so far."""
        return self._length

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bytes written so far, as `sha256:` and hex digits."""
        return f"sha256:{self._digest.hexdigest()}"

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the encoded data set.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`; nothing is left behind.
        """
        self._file.write(data)
        self._digest.update(data)
        self._length += len(data)

    def commit(self, record: Record) -> Location:
        """Make the instance durable and findable, and say where its data set lies.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        assert (record.length, record.digest) == (self._length, self.digest), (
            "the record tells of these bytes"
        )
        self._file.write_head(encode(record))
        self._file.commit(self._final)
        return Location(file=self._name, offset=HEAD_BYTES, length=self._length)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()


class Spool:
    """Encoded bytes under one folder, in areas: `kept` for what arrived, `results` for what the box made."""

    def __init__(self, root: Path, area: str = "kept") -> None:
        self.root, self.area = root, area
        self.incoming = make_folder(root / area / _INCOMING)
        self.spares = root / area / _SPARES
        for name in _FOLDERS:
            make_folder(root / area / name)

    def begin(self) -> Writing:
        """Open a place for one instance.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        token = secrets.token_hex(16)
        name = f"{self.area}/{token[0]}/{token}.dcm"
        return Writing(DurableFile(self.incoming / f"{token}.part"), self.root / name, name)

    def keep_beside(self, data: bytes, suffix: str) -> str:
        """Keep a whole small file, a preview picture say, and return its name under the root.

        Durable on return.
        """
        token = secrets.token_hex(16)
        name = f"{self.area}/{token[0]}/{token}{suffix}"
        write_file(self.root / name, data)
        return name

    def path(self, location: Location) -> Path:
        """Return the file that holds a location."""
        return self.root / location.file

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read encoded bytes; `offset` counts from the start of the data set.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        wanted = location.length - offset if length is None else min(length, location.length - offset)
        with self.path(location).open("rb", buffering=0) as file:
            file.seek(location.offset + offset)
            return file.read(max(wanted, 0))

    def head(self, location: Location, length: int) -> bytes:
        """Read an instance as a DICOM file, up to so many bytes of its data set (PS3.10 7.1).

        Raises:
            OSError: the file is gone or cannot be read.
        """
        with self.path(location).open("rb", buffering=0) as file:
            file.seek(location.offset - HEAD_BYTES)
            return file.read(HEAD_BYTES + min(length, location.length))

    def remove(self, location: Location) -> None:
        """Remove the bytes of a location for good."""
        self.remove_all([location])

    def remove_all(self, locations: Sequence[Location]) -> None:
        """Remove the bytes of many locations for good; durable on return."""
        inside: dict[str, list[int]] = {}
        for location in locations:
            if location.file.endswith(SEGMENT_SUFFIX):
                inside.setdefault(location.file, []).append(location.offset - HEAD_BYTES)
            else:
                remove_file(self.path(location))
        for name, places in inside.items():
            release(self.root / name, places)

    def names(self) -> Iterator[str]:
        """Yield the name of every committed file of this area that holds one instance."""
        for folder in _FOLDERS:
            yield from (f"{self.area}/{folder}/{name}" for name in os.listdir(self.root / self.area / folder))

    def segments(self) -> list[Path]:
        """Return the segments of this area, in a stable order."""
        folder = self.root / self.area / SEGMENT_FOLDER
        return sorted(folder.glob(f"*{SEGMENT_SUFFIX}")) if folder.exists() else []

    def name_of(self, path: Path) -> str:
        """Return the name under the root by which a location calls a file."""
        return path.relative_to(self.root).as_posix()

    def clear_incoming(self) -> int:
        """Remove what was being written when the last process died; none of it was acknowledged."""
        leftovers = list(self.incoming.iterdir())
        for path in leftovers:
            path.unlink()
        return len(leftovers)
