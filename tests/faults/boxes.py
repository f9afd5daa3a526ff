"""A box without a wire on a recorded disk: it keeps, purges and recovers in one thread, step by step."""

from __future__ import annotations

import functools
import itertools
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from appliance.core.clock import HeldClock
from appliance.core.words import StudyState
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.ledger import counts, engine, studies, tables
from appliance.ledger.engine import Ledger, open_ledger
from appliance.spool import keeper, retain
from appliance.spool.frame import frames
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import Row, RowWriter, write_rows
from appliance.spool.limits import SpoolLimits
from appliance.spool.retain import purge_old
from appliance.spool.store import Spool
from appliance.spool.sweep import Swept, sweep
from appliance.spool.verify import damaged
from dicom_node.limits import Limits
from dicom_node.memory import Held
from tests.appliance import making
from tests.appliance.disk.recorded import Crash, Image, RecordedDisk

TINY = SpoolLimits(
    staging_bytes=16 * 1024,
    lane_bytes_min=48 * 1024,
    growth_bytes=16 * 1024,
    disk=DiskLimits(segment_bytes_min=64 * 1024, segment_bytes_max=64 * 1024, spare_bytes_max=0),
)
STUDY = "1.2.3.0.1"
_FOLDERS = ("incoming", "segments", "spares", *"0123456789abcdef")


def image_of(size: int, **changes: str) -> Held:
    """An instance of about so many bytes; no block of it is like another."""
    made = making.arrival(**changes)
    marked = b"".join(f"{made.header.sop_instance_uid}/{n};".encode() for n in range(size // 12))
    ended = made.data[: -len(b"\1\0\2\0\3\0\4\0")] + marked[: size // 2 * 2]
    length = len(marked[: size // 2 * 2]).to_bytes(4, "little")
    at = made.header.pixel_offset
    assert at is not None
    data = ended[: at - 4] + length + ended[at:]
    return Held(data=data, header=made.header, calling_ae="PACS", called_ae="READSIDE", peer_name="pacs")


@functools.cache
def _empty_ledger() -> bytes:
    """Return the bytes of a ledger at its newest schema, made once: that takes longer than most of a test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite3"
        open_ledger(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as connection:
            data = connection.serialize()
        connection.close()
    return data


def quick_ledger(path: Path, clock: HeldClock) -> Ledger:
    """Open a ledger whose schema is the newest; what it commits is noted by the test and not synced."""
    opened = engine._engine(f"sqlite:///{path}", engine.LEDGER)
    sa.event.listen(opened, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return Ledger(opened, clock)


class Rows(RowWriter):
    """Writes rows when it is told to."""

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        super().__init__(ledger, spool, on_rows=lambda: None, on_fault=lambda: None)
        self._ledger_, self._spool_ = ledger, spool
        self.held: list[Row] = []

    def put(self, row: Row) -> None:
        self.held.append(row)

    def flush(self) -> None:
        rows, self.held = self.held, []
        write_rows(self._ledger_, self._spool_, rows)
        for row in rows:
            row.settled()


class Bench:
    """The box, and a copy of it for each crash."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HeldClock()
        self.root, self._tmp, self._monkeypatch = tmp_path / "root", tmp_path, monkeypatch
        self._numbers = itertools.count()
        tmp_path.mkdir(exist_ok=True)
        (tmp_path / "ledger.sqlite3").write_bytes(_empty_ledger())
        self.ledger = quick_ledger(tmp_path / "ledger.sqlite3", self.clock)
        self.spool = Spool(self.root)
        self.rows = Rows(self.ledger, self.spool)
        self.faults = 0
        self.intake = self.new_intake()
        self.sent: dict[str, bytes] = {}
        self.snapshot = self.ledger_bytes()

    def new_intake(self, floor_bytes: int = 0) -> SpoolIntake:
        return SpoolIntake(
            self.spool,
            Floor(self.root, floor_bytes),
            self.rows,
            on_fault=self._fault,
            clock=self.clock,
            limits=TINY,
        )

    def _fault(self) -> None:
        self.faults += 1

    def record(self) -> RecordedDisk:
        """Begin to record; each commit of the ledger is noted with what the ledger holds then."""
        disk = RecordedDisk(self.root, self._monkeypatch)

        def committed(point: str) -> None:
            if point in ("rows-committed", "purged-rows"):
                disk.note(self.ledger_bytes())

        self._monkeypatch.setattr(keeper, "crash_here", committed)
        self._monkeypatch.setattr(retain, "crash_here", committed)
        self.snapshot = self.ledger_bytes()
        return disk

    def ledger_bytes(self) -> bytes:
        """Return what the ledger holds."""
        with sqlite3.connect(self._tmp / "ledger.sqlite3") as connection:
            data = connection.serialize()
        connection.close()
        return data

    def bring(self, held: Held) -> None:
        """Send one instance; on return it is acknowledged."""
        self.sent[held.header.sop_instance_uid] = held.data
        incoming = self.intake.begin()
        left = memoryview(held.data)
        while left:
            room = incoming.room()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            incoming.filled(count)
            left = left[count:]
        with incoming.whole() as whole:
            assert whole == held.data
        incoming.keep(held)

    def settle(self) -> None:
        """Write the rows of what came, and end the segments, as at an orderly stop."""
        self.rows.flush()
        self.intake.close()

    def close_study(self) -> None:
        with self.ledger.write() as tx:
            tx.execute(tables.studies.update().values(state=StudyState.CLOSED))

    def purge(self) -> int:
        return purge_old(self.ledger, self.spool, retain_days=1)

    def after(self, crash: Crash) -> Recovered:
        """Start the box anew on what a power cut left."""
        ledgers = [note for note in crash.notes if isinstance(note, bytes)]
        return Recovered(self, crash.image, ledgers[-1] if ledgers else self.snapshot)

    def after_kill(self, ledger: bytes | None = None) -> Recovered:
        """Start the box anew after its process died: what it wrote is there, synced or not.

        With the ledger as it stands, or with another one.
        """
        image = Image()
        for number, path in enumerate(path for path in self.root.rglob("*") if path.is_file()):
            image.names[path.relative_to(self.root).as_posix()] = number
            image.files[number] = bytearray(path.read_bytes())
        return Recovered(self, image, ledger or self.ledger_bytes())

    def place(self) -> Path:
        return self._tmp / f"again-{next(self._numbers)}"


class Recovered:
    """What the box finds after a crash, swept."""

    def __init__(self, bench: Bench, image: Image, ledger: bytes) -> None:
        place = bench.place()
        image.put_into(place / "root")
        for folder in _FOLDERS:
            (place / "root" / "kept" / folder).mkdir(parents=True, exist_ok=True)
        (place / "ledger.sqlite3").write_bytes(ledger)
        self._sent = bench.sent
        self.ledger = quick_ledger(place / "ledger.sqlite3", bench.clock)
        self.spool = Spool(place / "root")
        self.swept = self.sweep()

    def sweep(self) -> Swept:
        return sweep(self.ledger, self.spool, Limits())

    def holds(self) -> dict[str, bytes]:
        """Return what the box has of each instance; it says of nothing that it has it without its bytes."""
        with self.ledger.read() as tx:
            found = studies.instances_of(tx, STUDY)
            assert counts.count(tx).balance == 0
        assert damaged(self.spool, found) == []
        assert len({one.sop_instance_uid for one in found}) == len(found), "none doubled"
        held = {one.sop_instance_uid: self.spool.read(one.location) for one in found}
        for uid, data in held.items():
            assert data == self._sent[uid], "nothing half visible"
        return held

    def set_aside(self) -> int:
        """Return how many things lie in the quarantine folder."""
        folder = self.spool.root / "quarantine"
        return len(list(folder.iterdir())) if folder.exists() else 0

    def living(self) -> int:
        """Return how many frames hold bytes."""
        return sum(not frame.gone for path in self.spool.segments() for frame in frames(path))

    def close(self) -> None:
        self.ledger.close()


def check(bench: Bench, crash: Crash, expect: Callable[[Recovered], None]) -> None:
    """Recover, look, and see that a second start finds nothing more to do."""
    again = bench.after(crash)
    try:
        expect(again)
        before = again.holds()
        swept = again.sweep()
        assert (swept.completed, swept.duplicates, swept.quarantined, swept.missing) == (0, 0, 0, 0)
        assert again.holds() == before
    finally:
        again.close()
