"""Opening the ledger: durable settings, migrations, and refusals that say why."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from appliance.ledger import engine as engine_module
from appliance.ledger import jobs, services, studies, tables
from appliance.ledger.engine import Ledger, LedgerRefused, open_ledger
from appliance.ledger.tables import metadata
from tests.appliance.ledger import given

PROCESS_SECONDS_MAX = 60
WAITED_FOR_MAX = 40
# As the first schema had them.
OLD_INSTANCE = """
    INSERT INTO instances (id, study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
        digest, file, "offset", length, facts, calling_ae, received_at, state, revision, current, copies)
    VALUES (1, '1.9', '1.9.1', '1.9.1.1', '1.2', '1.2', 'sha256:a', 'kept/0/a.dcm', 1024, 10, '{}', 'CT1', 1,
        'STUDY', 1, true, 1)
"""
OLD_JOB = """
    INSERT INTO jobs (id, study_uid, series_uid, route, mode, model_name, model_version, model_digest,
        input_digest, run, priority, state, attempts, kills, notice_attempts, not_before, created_at)
    VALUES (1, '1.9', '1.9.1', 'r', 'release', 'm', '1.0.0', 'd', 'i', 1, 5, 'WAITING', 0, 0, 0, 1.0, 1.0)
"""


def test_migrations_build_exactly_the_tables(empty_url):
    ledger = open_ledger(empty_url)
    with ledger.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx, opts={"compare_type": True}), metadata) == []
    ledger.close()


def test_an_empty_database_becomes_a_ledger_once(empty_url):
    first = open_ledger(empty_url)
    with first.write() as tx:
        given.kept(tx, 1)
    first.close()
    second = open_ledger(empty_url)
    with second.read() as tx:
        assert studies.count_of(tx, given.STUDY) == 1
    second.close()


def test_an_older_schema_is_brought_up_to_date_with_what_it_holds(empty_url, monkeypatch):
    monkeypatch.setattr(engine_module, "_TARGET", "0001")
    old = open_ledger(empty_url)
    with old.write() as tx:
        tx.execute(sa.text(OLD_INSTANCE))
        tx.execute(sa.text(OLD_JOB))
        tx.execute(sa.text("INSERT INTO job_inputs (job_id, instance_id) VALUES (1, 1)"))
    old.close()
    monkeypatch.undo()
    ledger = open_ledger(empty_url)
    with ledger.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
        assert studies.count_of(tx, "1.9") == 1
        assert [one.sop_instance_uid for one in jobs.inputs_of(tx, 1)] == ["1.9.1.1"]
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as tx:
        tx.execute(sa.text("INSERT INTO job_inputs (job_id, instance_id) VALUES (1, 7)"))
    ledger.close()


def test_a_newer_schema_is_refused_and_left_alone(ledger, ledger_url):
    with ledger.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerRefused, match=r"schema 9999.*install a newer Readside"):
        open_ledger(ledger_url)
    with ledger.read() as tx:
        assert tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_write_that_fails_half_way_leaves_nothing(ledger):
    with pytest.raises(RuntimeError, match="half-way"), ledger.write() as tx:
        given.kept(tx, 1)
        raise RuntimeError("half-way")
    with ledger.read() as tx:
        assert studies.find(tx, given.STUDY) is None


def test_a_reader_sees_one_state_while_another_writes(ledger):
    with ledger.read() as reading:
        assert studies.count_of(reading, given.STUDY) == 0
        with ledger.write() as tx:
            given.kept(tx, 1)
        assert studies.count_of(reading, given.STUDY) == 0
    with ledger.read() as reading:
        assert studies.count_of(reading, given.STUDY) == 1


def test_opening_from_many_threads_at_once_migrates_once(empty_url):
    opened: list[Ledger] = []
    faults: list[Exception] = []

    def open_it() -> None:
        try:
            opened.append(open_ledger(empty_url))
        except LedgerRefused as fault:
            faults.append(fault)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PROCESS_SECONDS_MAX)
    for ledger in opened:
        ledger.close()
    assert faults == []
    assert len(opened) == 4


WRITER = """
import sys
from appliance.ledger import arrivals
from appliance.ledger.engine import open_ledger
from tests.appliance.ledger import given
ledger = open_ledger(sys.argv[1])
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 40):
    with ledger.write() as tx:
        arrivals.add(tx, given.instance(number), calling_ae="CT1", at=given.NOW)
ledger.close()
"""


def test_two_processes_write_at_once_and_both_keep_everything(ledger, ledger_url):
    root = Path(__file__).resolve().parents[3]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, ledger_url, str(first)], cwd=root, stderr=subprocess.PIPE
        )
        for first in (100, 200)
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=PROCESS_SECONDS_MAX)
        assert writer.returncode == 0, said.decode()
    with ledger.read() as tx:
        assert studies.count_of(tx, given.STUDY) == 80


class TestSqlite:
    """What only a file can get wrong."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A ledger file that holds a study and is closed."""
        path = tmp_path / "ledger.sqlite3"
        ledger = open_ledger(f"sqlite:///{path}")
        with ledger.write() as tx:
            given.kept(tx, *range(1, 200))
        ledger.close()
        return path

    def test_every_connection_is_wal_and_syncs_fully(self, path):
        ledger = open_ledger(f"sqlite:///{path}")
        for transaction in (ledger.read, ledger.write, ledger.read):
            with transaction() as tx:
                assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
                assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2
                assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        ledger.close()

    def test_a_sqlite_that_will_not_sync_is_refused(self, path, monkeypatch):
        def weaken(engine: sa.Engine) -> None:
            set_up(engine)

            @sa.event.listens_for(engine, "connect")
            def _on_connect(connection, _record):
                connection.execute("PRAGMA synchronous=NORMAL")

        set_up = engine_module._set_up_sqlite
        monkeypatch.setattr(engine_module, "_set_up_sqlite", weaken)
        with pytest.raises(LedgerRefused, match=r"synchronous=1; wal and 2 \(FULL\) are needed"):
            open_ledger(f"sqlite:///{path}")

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda data: bytes(len(data)), id="zeroed"),
            pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
            pytest.param(lambda data: data[:50], id="cut inside the header"),
            pytest.param(lambda data: b"<html>" + data[6:], id="another kind of file"),
        ],
    )
    def test_a_damaged_file_is_refused_with_what_to_do(self, path: Path, damage: Callable[[bytes], bytes]):
        damaged = damage(path.read_bytes())
        path.write_bytes(damaged)
        with pytest.raises(LedgerRefused, match=r"cannot be opened: DatabaseError.*Restore it from a backup"):
            open_ledger(f"sqlite:///{path}")
        assert path.read_bytes() == damaged

    def test_a_torn_wal_loses_only_what_was_not_committed(self, path: Path, tmp_path: Path):
        ledger = open_ledger(f"sqlite:///{path}")
        with ledger.write() as tx:
            given.kept(tx, 500)
        wal = path.with_name(path.name + "-wal")
        copy = tmp_path / "copy" / path.name
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
        copy.with_name(wal.name).write_bytes(wal.read_bytes() + bytes(range(256)) * 20)
        ledger.close()
        again = open_ledger(f"sqlite:///{copy}")
        with again.read() as tx:
            assert studies.count_of(tx, given.STUDY) == 200
        again.close()

    def test_a_folder_in_the_files_place_is_refused(self, tmp_path):
        (tmp_path / "ledger.sqlite3").mkdir()
        with pytest.raises(LedgerRefused, match="cannot be opened"):
            open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")

    def test_a_writer_waits_for_another_instead_of_failing(self, path):
        ledger = open_ledger(f"sqlite:///{path}")
        holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, holder.execute, ["COMMIT"])
        release.start()
        with ledger.write() as tx:
            services.started(tx, "listener", pid=1, at=given.NOW, detail={})
        release.join()
        holder.close()
        ledger.close()

    def test_the_missing_folder_is_made_for_the_owner_only(self, tmp_path):
        ledger = open_ledger(f"sqlite:///{tmp_path / 'deep' / 'er' / 'ledger.sqlite3'}")
        ledger.close()
        assert (tmp_path / "deep" / "er").stat().st_mode & 0o777 == 0o700


HURRIED = """
import sys, time
from appliance.ledger import events
from appliance.ledger.engine import open_ledger
ledger = open_ledger(sys.argv[1])
print("ready", flush=True)
while True:
    with ledger.write() as tx:
        events.add(tx, "hurried", at=time.time())
        time.sleep(0.02)
"""


def test_who_waits_long_is_not_always_passed_by(tmp_path: Path):
    """Writers that hold the ledger nearly all the time leave each other a turn; SQLite alone does not."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    ledger = open_ledger(url)
    command = [sys.executable, "-c", HURRIED, url]
    hurried = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    passed_by = []
    try:
        for process in hurried:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for _ in range(20):
            before = _written(ledger)
            with ledger.write() as tx:
                passed_by.append(_count(tx) - before)
    finally:
        for process in hurried:
            process.kill()
            process.communicate()
        ledger.close()
    assert max(passed_by) <= WAITED_FOR_MAX, passed_by


def _written(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return _count(tx)


def _count(tx: sa.Connection) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar_one())


def test_a_server_that_is_not_there_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(LedgerRefused, match="cannot be opened"):
        open_ledger(f"postgresql://readside@/none?host={tmp_path}")
