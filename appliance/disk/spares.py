"""Segments made ahead of need: their zeros are written while little comes, for arrivals pay for it otherwise.

Promises: never brings free space under the floor; a segment that is taken has its name durably.
Never: makes more ahead than `spare_bytes_max`, or than came since the start.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from appliance.core import log
from appliance.disk.blocks import whole_blocks
from appliance.disk.durable import DiskFault, NoSpace, make_folder, sync_folder, translated
from appliance.disk.limits import DEFAULT, DiskLimits
from appliance.disk.segment import make_segment
from appliance.disk.space import Floor

_log = log.get("disk")


class Spares:
    """Empty segments in `ready`, filled with zeros; a thread makes more once none was taken for a while."""

    def __init__(self, ready: Path, incoming: Path, floor: Floor, *, limits: DiskLimits = DEFAULT) -> None:
        self._ready, self._incoming = make_folder(ready), incoming
        self._floor, self._limits = floor, limits
        self._lock = threading.Lock()
        self._taken_bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spares", daemon=True)

    def start(self) -> None:
        """Begin to make spares in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop making spares; what is ready stays for the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def take(self, final: Path, *, at_least: int) -> None:
        """Put an empty segment in place under its final name: a spare, or one made now.

        Raises:
            NoSpace: there is no room above the floor.
            DiskFault: the disk failed.
        """
        with self._lock:
            spare = next((path for path, size in self._spares() if size >= at_least), None)
            if spare is None:
                self._make_now(final, at_least)
            else:
                _rename(spare, final)
            self._taken_bytes += final.stat().st_size
        self._wake.set()

    def admit(self, size: int) -> None:
        """Reserve room for what a segment grows by.

        Raises:
            NoSpace: it would bring free space under the floor.
        """
        with self._lock:
            self._floor.admit(size)

    def _make_now(self, final: Path, at_least: int) -> None:
        """Make a segment without zeros: slower to write to, and there at once."""
        size = max(self._size(), whole_blocks(at_least))
        while True:
            try:
                self._floor.admit(size)
                break
            except NoSpace:
                if size // 2 < at_least:
                    raise
                size = whole_blocks(size // 2)
        make_segment(self._temporary(), final, size, fill_bytes=None)

    def _size(self) -> int:
        return max(self._limits.segment_bytes_min, min(self._taken_bytes, self._limits.segment_bytes_max))

    def _spares(self) -> list[tuple[Path, int]]:
        """Return what is ready, the largest first."""
        found = [(path, path.stat().st_size) for path in self._ready.iterdir()]
        return sorted(found, key=lambda one: one[1], reverse=True)

    def _temporary(self) -> Path:
        return self._incoming / f"{secrets.token_hex(16)}.part"

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._until_quiet()
            try:
                while self._wants_more() and not self._wake.is_set():
                    self._make_ahead()
            except NoSpace:
                continue
            except DiskFault as fault:
                # Nothing was promised about a spare; whoever keeps the next image meets the fault himself.
                _log.error("disk.spare_failed", error=str(fault))
                return

    def _until_quiet(self) -> None:
        """Wait until no segment was taken for a while: who takes one needs the disk for himself."""
        while self._wake.is_set() and not self._stopping.is_set():
            self._wake.clear()
            self._stopping.wait(self._limits.fill_quiet_seconds)

    def _disturbed(self) -> bool:
        return self._stopping.is_set() or self._wake.is_set()

    def _wants_more(self) -> bool:
        with self._lock:
            ahead = sum(size for _, size in self._spares())
            wanted = min(self._taken_bytes, self._limits.spare_bytes_max)
            return not self._stopping.is_set() and ahead + self._size() <= wanted

    def _make_ahead(self) -> None:
        with self._lock:
            size = self._size()
            self._floor.admit(size)
        make_segment(
            self._temporary(),
            self._ready / secrets.token_hex(16),
            size,
            fill_bytes=self._limits.fill_bytes,
            stop=self._disturbed,
        )


def _rename(spare: Path, final: Path) -> None:
    try:
        spare.rename(final)
    except OSError as error:
        raise translated(error, final) from error
    sync_folder(final.parent)
    sync_folder(spare.parent)
