"""Slices that were read and decoded before a job asked for them, each under the bytes it was made from.

Promises: what is given for an instance was made from bytes of exactly its digest at exactly its place, and is
what reading it now would give; together they hold no more bytes than the bound.
Never: keeps anything on disk, or says why an instance could not be prepared: the job that needs it does.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from appliance.core.instance import Instance, Location
from appliance.spool.record import digest_of
from appliance.worker.faults import DecodeError
from appliance.worker.frames import Cells, Decoding
from appliance.worker.limits import DecodeLimits
from appliance.worker.pixels import NATIVE, PixelFormat
from appliance.worker.reading import Reader

# Where bytes lie, and which they are: a key that no other bytes can have.
Key = tuple[Location, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """One instance: its encoded header, and its frames as they are stored, first to last, not writeable.

    `bytes` is how much memory it takes: native frames lie in what was read, and hold all of it.
    """

    head: bytes | memoryview
    cells: tuple[Cells, ...]
    bytes: int


def bytes_of(instance: Instance) -> int | None:
    """Return about how much memory an instance takes once prepared; None where it holds no possible image."""
    try:
        pixels = PixelFormat.of(instance.facts)
    except DecodeError:
        return None
    if instance.transfer_syntax_uid in NATIVE:
        return instance.location.length
    return (instance.pixel_offset or 0) + pixels.frame_bytes * pixels.frames


def prepare(instance: Instance, reader: Reader, decoder: Decoding) -> Prepared | None:
    """Read an instance once, hold it against its digest, decode its frames; None where any of it fails."""
    try:
        data = reader.read(instance.location)
        if instance.pixel_offset is None or digest_of(data) != instance.digest:
            return None
        cells = tuple(decoder.frames(instance, _InMemory(data)))
    except (OSError, DecodeError, MemoryError):
        return None
    for one in cells:
        one.flags.writeable = False
    if instance.transfer_syntax_uid in NATIVE:
        return Prepared(head=memoryview(data)[: instance.pixel_offset], cells=cells, bytes=len(data))
    head = data[: instance.pixel_offset]
    return Prepared(head=head, cells=cells, bytes=len(head) + sum(one.nbytes for one in cells))


@dataclass(frozen=True)
class _InMemory:
    """One instance's encoded bytes; see `appliance.worker.reading.Reader`."""

    data: bytes

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Show `length` bytes, or all, from `offset` bytes after the start of the data set.

        Shown and not copied: a page of fresh memory costs more than what is then written to it.
        """
        shown = memoryview(self.data)
        return cast("bytes", shown[offset:] if length is None else shown[offset : offset + length])


class PreparedSlices:
    """What was prepared, by study; one thread puts, any may take a look."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._held: dict[str, dict[Key, Prepared]] = {}
        self._bytes = 0

    def has(self, instance: Instance) -> bool:
        """Say whether an instance is here."""
        with self._lock:
            return _key(instance) in self._held.get(instance.study_uid, {})

    def has_room(self, instance: Instance) -> bool:
        """Say whether an instance would find room, and is an image at all."""
        size = bytes_of(instance)
        with self._lock:
            return size is not None and self._bytes + size <= self._bytes_max

    def put(self, instance: Instance, prepared: Prepared) -> bool:
        """Keep an instance; false, and nothing is kept, where there is no room for it."""
        with self._lock:
            of_study = self._held.setdefault(instance.study_uid, {})
            if _key(instance) in of_study:
                return True
            if self._bytes + prepared.bytes > self._bytes_max:
                return False
            of_study[_key(instance)] = prepared
            self._bytes += prepared.bytes
            return True

    def of(self, instances: Sequence[Instance]) -> dict[Key, Prepared]:
        """Return those of some instances that are here."""
        with self._lock:
            pairs = (
                (key, self._held.get(one.study_uid, {}).get(key)) for one in instances for key in [_key(one)]
            )
            return {key: prepared for key, prepared in pairs if prepared is not None}

    def keep_only(self, study_uids: Collection[str]) -> None:
        """Let go of every other study."""
        with self._lock:
            for study_uid in [uid for uid in self._held if uid not in study_uids]:
                self._bytes -= sum(one.bytes for one in self._held.pop(study_uid).values())


@dataclass(frozen=True, kw_only=True)
class PreparedReader:
    """Gives headers that are in memory, and anything else from where it lies."""

    prepared: Mapping[Key, Prepared]
    digests: Mapping[Location, str]
    reader: Reader

    @classmethod
    def of(cls, prepared: Mapping[Key, Prepared], reader: Reader) -> PreparedReader:
        """Stand in front of a reader."""
        return cls(prepared=prepared, digests=dict(prepared.keys()), reader=reader)

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read `length` bytes, or all, from `offset` bytes after the start of the data set.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        digest = self.digests.get(location)
        if digest is not None and length is not None:
            head = self.prepared[location, digest].head
            if offset + length <= len(head):
                return bytes(head[offset : offset + length])
        return self.reader.read(location, offset, length)


@dataclass(frozen=True, kw_only=True)
class PreparedDecoder:
    """Gives frames that are in memory, and decodes the others."""

    prepared: Mapping[Key, Prepared]
    decoder: Decoding

    @property
    def limits(self) -> DecodeLimits:
        """Return the bounds of the decoder behind."""
        return self.decoder.limits

    def frames(self, instance: Instance, reader: Reader) -> Iterator[Cells]:
        """Give the frames of an instance, first to last; see `appliance.worker.decode.Decoder.frames`."""
        prepared = self.prepared.get(_key(instance))
        return self.decoder.frames(instance, reader) if prepared is None else iter(prepared.cells)


def rest_of(instances: Sequence[Instance], prepared: Mapping[Key, Prepared]) -> list[Instance]:
    """Return the instances that were not prepared."""
    return [one for one in instances if _key(one) not in prepared]


def _key(instance: Instance) -> Key:
    return instance.location, instance.digest
