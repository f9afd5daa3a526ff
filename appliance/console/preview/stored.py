"""Reading what lies under the storage root: only what a row of the ledger names, and only as it was kept.

Promises: bytes are held against their digest before they are first shown.
Never: writes, creates a folder, follows a name out of the storage root.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from appliance.core.instance import Location

_CHUNK_BYTES = 1 << 20
_REMEMBERED_MAX = 50_000


class Gone(Exception):
    """The bytes are no longer on the box."""


class Damaged(Exception):
    """The bytes are not those that were kept."""


class Stored:
    """A reader of kept images and of frozen objects; `appliance.worker.reading.Reader` is its shape."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._sound: dict[Location, str] = {}
        self._lock = threading.Lock()

    def here(self, location: Location) -> bool:
        """Say whether there is a file under a location; other instances may share it."""
        return self._path(location).is_file()

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a data set; `offset` counts from its start.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        wanted = location.length - offset if length is None else min(length, location.length - offset)
        with self._path(location).open("rb", buffering=0) as file:
            file.seek(location.offset + offset)
            return file.read(max(wanted, 0))

    def check(self, location: Location, digest: str) -> None:
        """Hold bytes against the digest they were kept under; what was sound once is not read again.

        Raises:
            Gone: there are none.
            Damaged: they are others.
        """
        if self._sound.get(location) == digest:
            return
        try:
            found = self._digest(location)
        except OSError:
            raise Gone from None
        if found != digest:
            raise Damaged
        with self._lock:
            if len(self._sound) >= _REMEMBERED_MAX:
                self._sound.clear()
            self._sound[location] = digest

    def _digest(self, location: Location) -> str:
        made, left = hashlib.sha256(), location.length
        with self._path(location).open("rb", buffering=0) as file:
            file.seek(location.offset)
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                made.update(chunk)
                left -= len(chunk)
        return f"sha256:{made.hexdigest()}"

    def _path(self, location: Location) -> Path:
        path = (self._root / location.file).resolve()
        # A row names a file under the root; another is as good as none.
        return path if path.is_relative_to(self._root) else self._root / "nowhere"
