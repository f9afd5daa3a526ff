"""What waits to leave this site, and every byte that left it: one SQLite file of its own.

One service puts numbers in, another sends them; neither needs the other to be there. The file lies under
`storage.root/telemetry`, apart from spool and ledger, so that who sends can be kept from both.

Promises: what was put in is sent at least once, or counted as lost; a number is given once; a batch is noted
before its first byte leaves, so that the page of what left is never short of one.
Never: drops anything without counting it, or grows past its bounds.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import FILE_MODE, make_folder
from appliance.health.codes import Kind
from appliance.health.kinds import KINDS
from appliance.health.limits import OUTBOX, OutboxLimits
from appliance.health.schema import Record, checked, fit

FOLDER: Final = "telemetry"
_FILE: Final = "outbox.sqlite3"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS ix_records_kind ON records (kind, seq);
CREATE TABLE IF NOT EXISTS departures (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, way TEXT NOT NULL, body BLOB NOT NULL,
    answer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, way TEXT NOT NULL, body BLOB NOT NULL,
    tries INTEGER NOT NULL, due_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT;
"""
# What any call raises when the file cannot be read or written: full, locked for too long, damaged.
OutboxFault = sqlite3.Error
# Where an answer is not known yet, or never came.
UNDER_WAY: Final = "under way"


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Bytes that left, or may have left: when, by which way, exactly which, and what was answered."""

    id: int
    at: float
    way: str
    body: bytes
    answer: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A notice of an alarm that waits to be sent."""

    id: int
    way: str
    body: bytes
    tries: int


@dataclass(kw_only=True)
class Outbox:
    """The file; every call is a transaction of its own, and any process of the box may have it open."""

    folder: Path
    clock: Clock = SYSTEM
    limits: OutboxLimits = OUTBOX
    _ready: bool = field(default=False, init=False)

    def add(self, kind: Kind, values: Mapping[str, Any], *, at: float | None = None) -> int:
        """Put in a record of what may travel of these values, and return its number.

        What may not travel is left out and counted.

        Raises:
            SchemaFault: what the kind cannot do without is missing.
        """
        made_at = int(self.clock.now() if at is None else at)
        kept, unfit = fit(kind, values)
        with self._open() as tx:
            seq = self._next(tx)
            record = checked(seq, made_at, kind, kept)
            tx.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?)",
                (seq, made_at, int(kind), json.dumps(dict(record.values), separators=(",", ":"))),
            )
            _raise_by(tx, "unfit", unfit)
        return seq

    def waiting(self, count: int) -> list[Record]:
        """Return what is to be sent next: the newest of the box's state first, then all from the oldest."""
        newest = "SELECT max(seq) FROM records WHERE kind = ? HAVING max(seq) IS NOT NULL"
        with self._open() as tx:
            first = [
                row[0] for kind in (Kind.MACHINE, Kind.STATE) for row in tx.execute(newest, (int(kind),))
            ]
            rows = [
                row
                for seq in first
                for row in tx.execute("SELECT seq, at, kind, body FROM records WHERE seq = ?", (seq,))
            ]
            rest = tx.execute("SELECT seq, at, kind, body FROM records ORDER BY seq LIMIT ?", (count,))
            rows += [row for row in rest if row[0] not in first]
        return [_record(row) for row in rows[:count]]

    def backlog(self) -> int:
        """Return how many records wait."""
        with self._open() as tx:
            return int(tx.execute("SELECT count(*) FROM records").fetchone()[0])

    def give_up(self, seqs: Sequence[int]) -> None:
        """Forget records that the registry does not take, and count them as lost."""
        self.sent(seqs)
        with self._open() as tx:
            _raise_by(tx, "lost", len(seqs))

    def sent(self, seqs: Sequence[int]) -> None:
        """Forget records that the registry has."""
        with self._open() as tx:
            tx.executemany("DELETE FROM records WHERE seq = ?", [(seq,) for seq in seqs])

    def depart(self, way: str, body: bytes) -> int:
        """Note bytes that are about to leave, and return the number of the note.

        The same bytes by the same way again, with nothing answered to the last, are one note.
        """
        with self._open() as tx:
            last = tx.execute(
                "SELECT id, body, answer FROM departures WHERE way = ? ORDER BY id DESC LIMIT 1", (way,)
            ).fetchone()
            if last is not None and last[1] == body and last[2] == UNDER_WAY:
                return int(last[0])
            values = (self.clock.now(), way, body, UNDER_WAY)
            made = tx.execute("INSERT INTO departures (at, way, body, answer) VALUES (?, ?, ?, ?)", values)
            return int(made.lastrowid or 0)

    def departed(self, number: int, answer: str) -> None:
        """Note what was answered to bytes that left."""
        with self._open() as tx:
            tx.execute("UPDATE departures SET answer = ? WHERE id = ?", (answer, number))

    def stayed(self, number: int) -> None:
        """Take a note back: there was no connection, so nothing left."""
        with self._open() as tx:
            tx.execute("DELETE FROM departures WHERE id = ?", (number,))

    def departures(self, count: int, *, before: int | None = None) -> list[Departure]:
        """Return what left, the newest first; with `before` what left before the one of that number."""
        with self._open() as tx:
            rows = tx.execute(
                "SELECT id, at, way, body, answer FROM departures WHERE id < ? ORDER BY id DESC LIMIT ?",
                (2**62 if before is None else before, count),
            ).fetchall()
        return [Departure(id=r[0], at=r[1], way=r[2], body=r[3], answer=r[4]) for r in rows]

    def departure(self, number: int) -> Departure | None:
        """Return one of what left."""
        found = self.departures(1, before=number + 1)
        return found[0] if found and found[0].id == number else None

    def notify(self, way: str, body: bytes) -> None:
        """Put in a notice; of too many the oldest are given up, and counted."""
        now = self.clock.now()
        with self._open() as tx:
            tx.execute(
                "INSERT INTO notices (at, way, body, tries, due_at) VALUES (?, ?, ?, 0, ?)",
                (now, way, body, now),
            )
            dropped = tx.execute(
                "DELETE FROM notices WHERE id <= (SELECT max(id) FROM notices) - ?",
                (self.limits.notices_max,),
            )
            _raise_by(tx, "notices_lost", dropped.rowcount)

    def notices(self, count: int) -> list[Notice]:
        """Return the notices that are due, the oldest first."""
        with self._open() as tx:
            rows = tx.execute(
                "SELECT id, way, body, tries FROM notices WHERE due_at <= ? ORDER BY id LIMIT ?",
                (self.clock.now(), count),
            ).fetchall()
        return [Notice(id=r[0], way=r[1], body=r[2], tries=r[3]) for r in rows]

    def told(self, notice: Notice) -> None:
        """Forget a notice that was taken."""
        with self._open() as tx:
            tx.execute("DELETE FROM notices WHERE id = ?", (notice.id,))

    def untold(self, notice: Notice) -> None:
        """Try a notice again later, and give it up after so many tries."""
        pause = self.limits.notice_seconds * 2.0**notice.tries
        with self._open() as tx:
            if notice.tries + 1 >= self.limits.notice_tries_max:
                tx.execute("DELETE FROM notices WHERE id = ?", (notice.id,))
                _raise_by(tx, "notices_lost", 1)
                return
            tx.execute(
                "UPDATE notices SET tries = tries + 1, due_at = ? WHERE id = ?",
                (self.clock.now() + pause, notice.id),
            )

    def number(self, name: str) -> float | None:
        """Return a number that one service left for the other."""
        with self._open() as tx:
            row = tx.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return None if row is None else float(row[0])

    def note(self, name: str, value: float) -> None:
        """Leave a number for the other service."""
        with self._open() as tx:
            tx.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (name, value))

    def trim(self) -> int:
        """Bring the file within its bounds, the oldest detail first; return how many records were lost."""
        now, limits = self.clock.now(), self.limits
        with self._open() as tx:
            lost = tx.execute("DELETE FROM records WHERE at < ?", (int(now - limits.seconds_max),)).rowcount
            # Of an hour that is past, the last look at the machine stands for all of them.
            lost += tx.execute(
                "DELETE FROM records WHERE kind = ? AND at < ? AND seq NOT IN"
                " (SELECT max(seq) FROM records WHERE kind = ? GROUP BY at / 3600)",
                (int(Kind.MACHINE), int(now - limits.detail_seconds), int(Kind.MACHINE)),
            ).rowcount
            for kind in (Kind.MACHINE, Kind.STATE, Kind.SHADOW, Kind.INPUT, Kind.WORK):
                too_many = tx.execute("SELECT count(*) FROM records").fetchone()[0] - limits.records_max
                if too_many > 0:
                    lost += tx.execute(
                        "DELETE FROM records WHERE seq IN"
                        " (SELECT seq FROM records WHERE kind = ? ORDER BY seq LIMIT ?)",
                        (int(kind), too_many),
                    ).rowcount
            _raise_by(tx, "lost", lost)
            _trim_departures(tx, limits, now)
        return lost

    def keep_to(self, level: str) -> None:
        """Drop what waits and may not leave at the level that the site chose; it counts as nothing lost."""
        kept = [kind for kind, schema in KINDS.items() if level in schema.levels]
        with self._open() as tx:
            waiting = [row[0] for row in tx.execute("SELECT DISTINCT kind FROM records")]
            for kind in set(waiting) - set(map(int, kept)):
                tx.execute("DELETE FROM records WHERE kind = ?", (kind,))

    def _next(self, tx: sqlite3.Connection) -> int:
        """Return the next number. After the file was lost it goes on above all that it ever gave."""
        row = tx.execute("SELECT value FROM numbers WHERE name = 'seq'").fetchone()
        seq = int(self.clock.now() * 1000) if row is None else int(row[0]) + 1
        tx.execute("INSERT OR REPLACE INTO numbers VALUES ('seq', ?)", (seq,))
        return max(seq, 1)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_folder(self.folder)
        path = self.folder / _FILE
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
        connection = sqlite3.connect(path, timeout=self.limits.busy_seconds, isolation_level=None)
        try:
            if not self._ready:
                _prepare(connection)
                self._ready = True
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        finally:
            connection.close()


def folder_of(root: Path) -> Path:
    """Return where the outbox of a box lies; `root` is the storage root."""
    return root / FOLDER


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(_TABLES)


def _raise_by(tx: sqlite3.Connection, name: str, by: int) -> None:
    if by > 0:
        tx.execute(
            "INSERT INTO numbers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
            (name, by, by),
        )


def _trim_departures(tx: sqlite3.Connection, limits: OutboxLimits, now: float) -> None:
    old = tx.execute("DELETE FROM departures WHERE at < ?", (now - limits.departures_seconds_max,)).rowcount
    size = tx.execute("SELECT coalesce(sum(length(body)), 0) FROM departures").fetchone()[0]
    while size > limits.departures_bytes_max:
        row = tx.execute("SELECT id, length(body) FROM departures ORDER BY id LIMIT 1").fetchone()
        tx.execute("DELETE FROM departures WHERE id = ?", (row[0],))
        size, old = size - row[1], old + 1
    _raise_by(tx, "departures_forgotten", old)


def _record(row: Sequence[Any]) -> Record:
    return checked(row[0], row[1], row[2], json.loads(row[3]))
