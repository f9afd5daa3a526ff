"""A bundle on a stick as a carrier: files that were cut are read as one, each part held against its hash.

Promises: nothing outside of the bundle's folder is read, nothing that is a link, and nothing that is no plain
file; a stick that is pulled, or that cannot be read, is told from one that was changed.
Never: writes; joins parts anywhere but on their way.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from appliance.core.clock import SYSTEM
from appliance.sync.carrier import NotThere, Part
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import IMAGE, TARGETS
from provisioning.bundle import parts
from provisioning.bundle.export import FOLDER
from provisioning.bundle.limits import DEFAULT, BundleLimits
from provisioning.bundle.parts import Cut

_SHA256_CHARACTERS = 64
Listed = Callable[[str], Sequence[Cut]]


def _none(_sha256: str) -> Sequence[Cut]:
    return ()


class Stick:
    """A bundle; `listed` gives the signed parts of a file by its hash, or none where there is no list."""

    def __init__(self, place: Path, *, limits: BundleLimits = DEFAULT) -> None:
        """Take the folder where the stick is mounted, or the bundle's own."""
        self.folder = place if place.name == FOLDER else place / FOLDER
        self.listed: Listed = _none
        self._place, self._limits = place, limits
        self._was_there = self.folder.is_dir()

    @contextmanager
    def part(self, path: str, *, start: int, seconds_max: float) -> Iterator[Part]:
        """Give a file of the bundle from a byte on."""
        until = SYSTEM.elapsed() + seconds_max
        try:
            with ExitStack() as stack:
                yield Part(start=start, chunks=self._in_time(self._whole(path, start, stack), until))
        except OSError as error:
            raise self._gone(error.strerror) from error

    def close(self) -> None:
        """Let go of what is open: nothing is, between two files."""

    def _whole(self, path: str, start: int, stack: ExitStack) -> Iterator[bytes]:
        try:
            file = stack.enter_context(self._opened(path))
        except FileNotFoundError:
            return self._joined(path, self._cuts(path), start)
        file.seek(start)
        return iter(lambda: file.read(self._limits.chunk_bytes), b"")

    def _joined(self, path: str, cuts: Sequence[Cut], start: int) -> Iterator[bytes]:
        """Give the bytes from `start` on; a part that is begun in its middle is still hashed whole."""
        for cut in cuts:
            if cut.start + cut.length <= start:
                continue
            digest, at = hashlib.sha256(), cut.start
            with self._part(path, cut, of=len(cuts)) as file:
                for chunk in parts.pieces(file, cut.length, limits=self._limits):
                    digest.update(chunk)
                    if new := chunk[max(0, start - at) :]:
                        yield new
                    at += len(chunk)
            if digest.hexdigest() != cut.sha256:
                raise self._bad(cut, len(cuts))

    def _part(self, path: str, cut: Cut, *, of: int) -> BinaryIO:
        try:
            file = self._opened(f"{path}{cut.suffix}")
        except FileNotFoundError as error:
            if not self._is_there():
                raise
            raise Refusal(
                Word.NOT_A_REGISTRY,
                f"part {cut.number} of {of} of a release is not on the stick: export again",
            ) from error
        if os.fstat(file.fileno()).st_size != cut.length:
            file.close()
            raise self._bad(cut, of)
        return file

    def _cuts(self, path: str) -> Sequence[Cut]:
        if not self._is_there():
            raise self._gone("it is not there")
        # Only releases are cut, and the lists that say how are held good before the first of them is read.
        sha256 = path.rpartition("/")[2][:_SHA256_CHARACTERS]
        cuts = self.listed(sha256) if path.startswith(f"{IMAGE}/{TARGETS}/") else ()
        if not cuts:
            raise NotThere(path)
        return cuts

    def _opened(self, path: str) -> BinaryIO:
        """Open a plain file of the bundle.

        Raises:
            Refusal: TAMPERED, it lies elsewhere, is a link or behind one, or is no file.
        """
        place = self.folder / path
        inside = not path.startswith("/") and ".." not in Path(path).parts
        if not inside or self.folder.is_symlink() or place.resolve() != self.folder.resolve() / path:
            raise Refusal(Word.TAMPERED, "the stick holds a link, or a list leads out of the bundle's folder")
        # A pipe would keep whoever opens it waiting.
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Refusal(Word.TAMPERED, "what stands under the name of a list or a release is no file")
        return os.fdopen(handle, "rb")

    def _in_time(self, chunks: Iterator[bytes], until: float) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if SYSTEM.elapsed() > until:
                raise Refusal(Word.TOO_SLOW, "the stick is too slow; what came is kept")
        if not self._is_there():
            raise self._gone("it is not there")

    def _is_there(self) -> bool:
        """Say whether the stick is in: one without a bundle is in, one whose bundle vanished was pulled."""
        return self.folder.is_dir() or (self._place.is_dir() and not self._was_there)

    def _gone(self, why: str | None) -> Refusal:
        return Refusal(Word.CARRIER_GONE, f"the stick cannot be read: {why}; put it in and import again")

    def _bad(self, cut: Cut, of: int) -> Refusal:
        return Refusal(
            Word.TAMPERED,
            f"part {cut.number} of {of} of a release is not what was signed: export it onto the stick again",
        )
