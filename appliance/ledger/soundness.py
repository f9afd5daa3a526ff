"""Whether the ledger's file is sound: SQLite looks through it itself, within a time.

Promises: what is said of a fault holds no patient's data: SQLite names pages, rows by number, tables and
indices. A look that does not come to its end in time finds nothing, and says so.
Never: writes, or holds up a writer.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

_FAULTS_MAX = 20
_STEPS_BETWEEN_LOOKS = 100_000
_LOOK_SECONDS = 0.1
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
ADVICE = (
    "Stop the box, keep a copy of the file and its -wal, and restore the ledger from a backup; or move it"
    " away: the rows of images are made again from the spool, and the studies are judged again"
)


@dataclass(frozen=True, kw_only=True)
class Soundness:
    """What a look found.

    Attributes:
        faults: sentences of SQLite's own, none where nothing is wrong.
        is_whole: the look came to its end; no fault says something only then.
    """

    faults: Sequence[str] = ()
    is_whole: bool = True


def look(url: str, *, seconds_max: float, given_up: Callable[[], bool] = lambda: False) -> Soundness:
    """Look through a ledger's file; a server's database is the server's to look through."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return Soundness()
    found: list[Soundness] = []
    deadline = time.monotonic() + seconds_max

    def over() -> bool:
        return time.monotonic() > deadline or given_up()

    if over():
        return Soundness(is_whole=False)
    # SQLite asks in between whether to go on, but not within one table: what is read there nobody waits for.
    reader = threading.Thread(
        target=lambda: found.append(_read(Path(str(parsed.database)), over)), name="soundness", daemon=True
    )
    reader.start()
    while reader.is_alive() and not over():
        reader.join(_LOOK_SECONDS)
    return found[0] if found else Soundness(is_whole=False)


def is_broken(error: BaseException | None) -> bool:
    """Say whether SQLite met a page that cannot be."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN


def _read(path: Path, over: Callable[[], bool]) -> Soundness:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.set_progress_handler(over, _STEPS_BETWEEN_LOOKS)
            rows = connection.execute(f"PRAGMA quick_check({_FAULTS_MAX})").fetchall()
    except sqlite3.DatabaseError as error:
        # Interrupted, locked, or not to be opened: that says nothing of what lies in it.
        return Soundness(faults=(str(error),)) if is_broken(error) else Soundness(is_whole=False)
    return Soundness(faults=tuple(str(row[0]) for row in rows if row[0] != "ok"))
