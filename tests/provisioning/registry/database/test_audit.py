"""The trail holds together whoever writes at once, and says where somebody changed it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from provisioning.registry.database import audit
from provisioning.registry.database.engine import Database

SECONDS_MAX = 60


def acted(database: Database, count: int, who: str = "maria") -> None:
    for number in range(count):
        with database.write() as tx:
            audit.note(
                tx, at=float(number), who=who, act="slot.offline", subject=f"box-{number}", why="moved"
            )


def test_an_empty_trail_holds(database: Database):
    assert audit.verify(database).broken_at is None


def test_several_writers_make_one_chain(database: Database, another: Callable[[], Database]):
    opened = [another() for _ in range(4)]
    threads = [threading.Thread(target=acted, args=(one, 10, f"w{n}")) for n, one in enumerate(opened)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    verdict = audit.verify(database)
    assert (verdict.rows, verdict.broken_at) == (40, None)
    assert audit.hash_of(database, 40) == verdict.hash


@pytest.mark.parametrize(
    ("change", "seen_at"),
    [
        ("UPDATE audit SET who = 'karl' WHERE seq = 3", 3),
        ("UPDATE audit SET at = 9 WHERE seq = 3", 3),
        ("UPDATE audit SET why = '' WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 3", 4),
        ("DELETE FROM audit WHERE seq = 1", 2),
    ],
)
def test_a_change_is_seen(database: Database, change: str, seen_at: int):
    acted(database, 5)
    with database.write() as tx:
        tx.execute(sa.text(change))
    assert audit.verify(database).broken_at == seen_at


def test_a_cut_end_is_seen_by_who_kept_what_was_said(database: Database):
    acted(database, 5)
    known = audit.verify(database)
    with database.write() as tx:
        tx.execute(sa.text("DELETE FROM audit WHERE seq > 3"))
    assert audit.verify(database).broken_at is None
    assert audit.hash_of(database, known.rows) is None


def test_an_act_that_did_not_happen_leaves_no_row(database: Database):
    def fail() -> None:
        with database.write() as tx:
            audit.note(tx, at=1.0, who="maria", act="slot.offline", subject="box-1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert audit.verify(database).rows == 0


def test_acts_are_newest_first_and_by_subject(database: Database):
    acted(database, 5)
    with database.read() as tx:
        assert [one.seq for one in audit.acts(tx, limit=2)] == [5, 4]
        assert [one.seq for one in audit.acts(tx, before=4, limit=2)] == [3, 2]
        assert [one.seq for one in audit.acts(tx, subject="box-1", limit=9)] == [2]
