"""The narrow door to the bytes: begin, write, commit to a location; read from a location.

How the bytes lie on disk is this room's secret.
Today each instance is one file under a random name; no name is ever made from what a sender says.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from appliance.core.instance import Location
from appliance.disk.durable import DurableFile, make_folder, remove_file, write_file
from appliance.spool.record import HEAD_BYTES, Record, encode

_INCOMING = "incoming"
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
        self._incoming = make_folder(root / area / _INCOMING)
        for name in _FOLDERS:
            make_folder(root / area / name)

    def begin(self) -> Writing:
        """Open a place for one instance.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        token = secrets.token_hex(16)
        name = f"{self.area}/{token[0]}/{token}.dcm"
        return Writing(DurableFile(self._incoming / f"{token}.part"), self.root / name, name)

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

    def remove(self, location: Location) -> None:
        """Remove the bytes of a location for good."""
        remove_file(self.path(location))

    def names(self) -> Iterator[str]:
        """Yield the name of every committed file of this area."""
        for folder in sorted((self.root / self.area).iterdir()):
            if folder.name != _INCOMING:
                yield from (f"{self.area}/{folder.name}/{name}" for name in os.listdir(folder))

    def clear_incoming(self) -> int:
        """Remove what was being written when the last process died; none of it was acknowledged."""
        leftovers = list(self._incoming.iterdir())
        for path in leftovers:
            path.unlink()
        return len(leftovers)
