"""Get the images out of a spool without a ledger, a configuration or a running box.

Promises: what comes out is byte for byte what came in, behind a head of file meta information (PS3.10 7.1);
whether it is whole is said of each.
Never: writes into the spool; needs anything but the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.disk.durable import DurableFile
from appliance.spool.frame import frames, sum_of
from appliance.spool.record import HEAD_BYTES, Record, RecordFault, decode
from appliance.spool.release import SEGMENT_SUFFIX

_PIECE_BYTES = 2**20  # a multiple of eight: the sum of pieces is the sum of the whole


@dataclass(frozen=True, kw_only=True)
class Found:
    """One instance in a spool folder; `at` the byte offset of its head in `path`."""

    path: Path
    at: int
    record: Record
    sum64: int | None

    @property
    def name(self) -> str:
        """Return a file name of its own, made of nothing that a sender said."""
        return f"{self.path.stem}.dcm" if self.sum64 is None else f"{self.path.stem}-{self.at}.dcm"

    def pieces(self) -> Iterator[bytes]:
        """Yield the data set's bytes, a piece at a time.

        Raises:
            OSError: the disk cannot read them.
        """
        left = self.record.length
        with self.path.open("rb") as file:
            file.seek(self.at + HEAD_BYTES)
            while left and (piece := file.read(min(left, _PIECE_BYTES))):
                left -= len(piece)
                yield piece

    def is_whole(self) -> bool:
        """Say whether the bytes are those that were kept."""
        length, total, digest = 0, 0, hashlib.sha256()
        for piece in self.pieces():
            length, total = length + len(piece), (total + sum_of(piece)) % 2**64
            digest.update(piece)
        if length != self.record.length:
            return False
        return total == self.sum64 if self.record.digest == "" else self.record.digest == _said(digest)

    def copy_to(self, folder: Path) -> Path:
        """Write it as a DICOM file of its own.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        final = folder / self.name
        with self.path.open("rb") as file:
            file.seek(self.at)
            head = file.read(HEAD_BYTES)
        with DurableFile(folder / f".{self.name}.part") as copy:
            copy.write(head)
            for piece in self.pieces():
                copy.write(piece)
            copy.commit(final)
        return final


def instances_in(folder: Path) -> Iterator[Found]:
    """Yield every instance below a folder, of either layout; what was given up is passed over."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == SEGMENT_SUFFIX:
            for frame in frames(path):
                if not frame.gone:
                    yield Found(path=path, at=frame.at, record=frame.record, sum64=frame.sum64)
        elif path.suffix == ".dcm" and path.is_file():
            record = _record_of(path)
            if record is not None:
                yield Found(path=path, at=0, record=record, sum64=None)


def _record_of(path: Path) -> Record | None:
    with path.open("rb") as file:
        try:
            return decode(file.read(HEAD_BYTES))
        except RecordFault:
            return None


def _said(digest: hashlib._Hash) -> str:
    return f"sha256:{digest.hexdigest()}"
