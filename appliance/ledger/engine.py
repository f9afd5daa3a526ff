"""Open the ledger, and hold its transactions.

SQLite runs in WAL with synchronous=FULL, asserted at open: a committed row survives a power cut.
Write transactions begin IMMEDIATE, so that two processes queue instead of failing half-way. They queue in the
kernel: SQLite lets who waits long look ever more seldom, and then somebody else is always faster.
A ledger of a newer schema is refused; an older one is migrated under a lock.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import make_folder
from appliance.ledger import soundness

_log = log.get("ledger")
_BUSY_MS = 30_000
_TURN_LOOK_SECONDS = 0.003
_TARGET = "head"

Tx = sa.Connection


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Which tables a database holds, and how a person is told of it.

    Attributes:
        noun: what the database is.
        setting: where its address stands.
        migrations: Alembic's script folder.
        lock_key: what PostgreSQL keeps two migrations apart by.
        file_advice: what to do when a file cannot be opened.
    """

    noun: str
    setting: str
    migrations: Path
    lock_key: int
    file_advice: str

    @property
    def server_advice(self) -> str:
        """Return what to do when a server's database cannot be opened."""
        return f"Look whether the server of {self.setting} runs, and whether its user may use the database"


LEDGER = Schema(
    noun="the ledger",
    setting="ledger.url",
    migrations=Path(__file__).with_name("migrations"),
    lock_key=0x5EAD51DE,
    file_advice="Restore it from a backup, or move it away: the rows of instances are made again from the"
    " spool",
)


class LedgerRefused(Exception):
    """The ledger cannot be used as it is; the message says why and what to do."""


class Ledger:
    """One database and its two kinds of transaction."""

    def __init__(self, engine: sa.Engine, clock: Clock = SYSTEM) -> None:
        self._engine = engine
        self._writing = engine.execution_options(readside_write=True)
        # SQLite's readers see one state anyway; PostgreSQL's default would show each statement another.
        one_state = {"isolation_level": "REPEATABLE READ"} if self.dialect == "postgresql" else {}
        self._reading = engine.execution_options(**one_state)
        self.clock = clock

    @property
    def dialect(self) -> str:
        """Return the name of the database kind, `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that changes rows.

        What it did is durable when the block ends without an error.
        """
        with _turn(self._engine), self._writing.begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a transaction that sees one state of the ledger and changes nothing."""
        with self._reading.connect() as tx:
            yield tx

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_ledger(url: str, *, clock: Clock = SYSTEM, schema: Schema = LEDGER) -> Ledger:
    """Open the ledger, or a database of another schema, bringing its tables up to date first.

    Raises:
        LedgerRefused: the database cannot be opened, is damaged, or was written by a newer Readside.
    """
    engine = _engine(url, schema)
    try:
        with _migration_lock(engine, schema):
            _migrate(engine, schema)
        _assert_durable(engine)
    except sa.exc.DatabaseError as error:
        engine.dispose()
        advice = schema.file_advice if engine.dialect.name == "sqlite" else schema.server_advice
        fault = f"{type(error.orig).__name__}: {error.orig}"
        raise LedgerRefused(f"{schema.noun} cannot be opened: {fault}. {advice}") from error
    except LedgerRefused:
        engine.dispose()
        raise
    return Ledger(engine, clock)


def _engine(url: str, schema: Schema) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        make_folder(Path(parsed.database).parent)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except ModuleNotFoundError as error:
        raise LedgerRefused(f"{schema.setting} needs {error.name}: install readside[postgres]") from error
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    return engine


def _set_up_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions behind our back
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("readside_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    said: list[str] = []

    @sa.event.listens_for(engine, "handle_error")
    def _on_error(context: sa.engine.ExceptionContext) -> None:
        # Whatever a verb's caller makes of its error: this one is no full disk and passes by no trying again.
        if soundness.is_broken(context.original_exception) and not said:
            said.append("ledger.damaged")
            _log.critical("ledger.damaged", do=soundness.ADVICE)


def assert_sound(url: str, *, seconds_max: float) -> None:
    """Look through the ledger's file before anything stands on it; one too large for the time is taken as is.

    Raises:
        LedgerRefused: it is damaged.
    """
    found = soundness.look(url, seconds_max=seconds_max)
    if found.faults:
        _log.critical("ledger.damaged", faults=len(found.faults), first=found.faults[0])
        raise LedgerRefused(f"the ledger is damaged, SQLite says: {found.faults[0]}. {soundness.ADVICE}")
    if not found.is_whole:
        _log.warning("ledger.unchecked", seconds=seconds_max)


def _assert_durable(engine: sa.Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    if (mode, level) != ("wal", 2):
        raise LedgerRefused(
            f"SQLite gave journal_mode={mode}, synchronous={level}; wal and 2 (FULL) are needed"
        )


@contextmanager
def _turn(engine: sa.Engine) -> Iterator[None]:
    """Wait for one's turn to write; whoever never gets it hears from SQLite what is wrong."""
    if engine.dialect.name != "sqlite":
        yield
        return
    with ExitStack() as stack:
        # On a full disk there may be no room for the files: then it goes as it would without.
        with suppress(OSError):
            lock = stack.enter_context(_lock_file(engine).open("a"))
            # Who has written must come past whoever is next before he can write again.
            with _lock_file(engine).with_suffix(".next").open("a") as following:
                _await(following)
                _await(lock)
        yield


def _await(handle: TextIO) -> None:
    deadline = time.monotonic() + _BUSY_MS / 1000
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_TURN_LOOK_SECONDS)


def _lock_file(engine: sa.Engine) -> Path:
    return Path(f"{engine.url.database}.lock")


@contextmanager
def _migration_lock(engine: sa.Engine, schema: Schema) -> Iterator[None]:
    """Let one process at a time look at the schema and change it."""
    if engine.dialect.name == "sqlite":
        with _lock_file(engine).open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({schema.lock_key})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({schema.lock_key})")
            connection.rollback()


def _migrate(engine: sa.Engine, schema: Schema) -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(schema.migrations).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(settings)
    with engine.connect() as connection:
        have = MigrationContext.configure(connection).get_current_revision()
    if have == scripts.get_current_head():
        return
    if have is not None and have not in {script.revision for script in scripts.walk_revisions()}:
        raise LedgerRefused(
            f"{schema.noun} has schema {have}, which this version does not know: install a newer Readside"
        )
    with _foreign_keys_resting(engine) as connection, connection.begin():
        settings.attributes["connection"] = connection
        command.upgrade(settings, _TARGET)
        _assert_references(connection, schema)


@contextmanager
def _foreign_keys_resting(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection on which a table may be copied: SQLite would count its rows as deleted."""
    with engine.execution_options(readside_write=True).connect() as connection:
        if engine.dialect.name == "sqlite":
            _pragma(connection, "foreign_keys=OFF")
        try:
            yield connection
        finally:
            if engine.dialect.name == "sqlite":
                _pragma(connection, "foreign_keys=ON")


def _pragma(connection: sa.Connection, text: str) -> None:
    """Say something to the driver's own connection, outside any transaction: inside it would mean nothing."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA {text}")


def _assert_references(connection: sa.Connection, schema: Schema) -> None:
    if connection.dialect.name != "sqlite":
        return
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise LedgerRefused(f"{len(broken)} rows of {schema.noun} refer to rows that do not exist")
