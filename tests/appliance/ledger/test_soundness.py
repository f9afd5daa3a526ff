"""A ledger whose file is damaged is found, said and refused; one that cannot be looked through is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from appliance.ledger import soundness, studies
from appliance.ledger.engine import LedgerRefused, assert_sound, open_ledger
from appliance.services import run
from tests.appliance.ledger import given

PAGE_BYTES = 4096


def damage(path: Path, table: str) -> None:
    """Spoil the page on which a table or an index begins, as a disk does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\x5a" * PAGE_BYTES)


@pytest.fixture
def kept(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    ledger = open_ledger(url)
    with ledger.write() as tx:
        given.kept(tx, *range(1, 40))
    ledger.close()
    return url


def spoil(tmp_path: Path) -> None:
    damage(tmp_path / "ledger.sqlite3", "instances")


def test_a_sound_file_has_no_fault(kept: str) -> None:
    assert soundness.look(kept, seconds_max=30) == soundness.Soundness()
    assert_sound(kept, seconds_max=30)


def test_a_spoilt_page_is_found_and_a_start_is_refused_with_what_to_do(kept: str, tmp_path: Path) -> None:
    spoil(tmp_path)
    found = soundness.look(kept, seconds_max=30)
    assert found.is_whole
    assert found.faults
    with capture_logs() as logs, pytest.raises(LedgerRefused, match="restore the ledger from a backup"):
        assert_sound(kept, seconds_max=30)
    assert [line["event"] for line in logs] == ["ledger.damaged"]
    assert given.STUDY not in str(logs), "no UID in what is said"


def test_a_box_with_a_damaged_ledger_starts_no_service(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(tmp_path)

    class Config:
        ledger_url = kept

    monkeypatch.setattr("appliance.core.log.configure", lambda _name: None)
    monkeypatch.setattr(run, "Supervisor", None)
    with pytest.raises(LedgerRefused, match="is damaged"):
        run.run_box(Config(), tmp_path)  # type: ignore[arg-type]


def test_a_verb_that_meets_it_says_so_once(kept: str, tmp_path: Path) -> None:
    ledger = open_ledger(kept)
    spoil(tmp_path)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(sa.exc.DatabaseError), ledger.read() as tx:
                studies.instances_of(tx, given.STUDY)
    ledger.close()
    (line,) = [line for line in logs if line["event"] == "ledger.damaged"]
    assert line["log_level"] == "critical"
    assert "backup" in line["do"]


@pytest.mark.parametrize(
    "hinder", [lambda: {"seconds_max": -1.0}, lambda: {"seconds_max": 30.0, "given_up": lambda: True}]
)
def test_a_look_without_time_finds_nothing_and_says_so(
    kept: str, hinder: Callable[[], dict[str, float]]
) -> None:
    assert soundness.look(kept, **hinder()) == soundness.Soundness(is_whole=False)  # type: ignore[arg-type]


def test_one_too_large_for_the_time_is_no_reason_not_to_start(kept: str) -> None:
    with capture_logs() as logs:
        assert_sound(kept, seconds_max=-1.0)
    assert [line["event"] for line in logs] == ["ledger.unchecked"]


def test_a_look_makes_no_file_and_asks_no_server(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite3"
    assert not soundness.look(f"sqlite:///{path}", seconds_max=30).is_whole
    assert not path.exists()
    assert soundness.look("postgresql://127.0.0.1:1/none", seconds_max=30) == soundness.Soundness()


def test_a_writer_is_not_held_up(kept: str) -> None:
    ledger = open_ledger(kept)
    with ledger.write() as tx:
        given.kept(tx, 99)
        assert soundness.look(kept, seconds_max=30) == soundness.Soundness()
    ledger.close()
