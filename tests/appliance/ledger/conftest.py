"""The ledger's tests run on SQLite and on PostgreSQL: every test that asks for `ledger` runs once on each."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from appliance.core.clock import HeldClock
from appliance.ledger.engine import Ledger, open_ledger
from tests.appliance.ledger.machines import Walked

_SECONDS_MAX = 60
_MEMORY, _MEMORY_BYTES = Path("/dev/shm"), 2 << 30
_NUMBERS = itertools.count(1)


@dataclass
class Cluster:
    """A private PostgreSQL server on a Unix socket, owned by an ordinary user."""

    binaries: Path
    folder: Path
    user: str | None
    made: set[str] = field(default_factory=set)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs as the server's user."""
        command = [str(self.binaries / program), *arguments]
        with (self.folder / "programs.log").open("ab") as log:
            subprocess.run(
                command,
                check=True,
                timeout=_SECONDS_MAX,
                user=self.user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def url(self, database: str) -> str:
        """Give SQLAlchemy's address of a database."""
        return f"postgresql://readside@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of any transaction."""
        with psycopg.connect(
            f"host={self.folder} user=readside dbname=postgres", autocommit=True
        ) as connection:
            connection.execute(statement)

    def database(self, template: str = "template1") -> str:
        """Make a fresh database and return its name."""
        name = f"t{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self.made.add(name)
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")


def _binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    places = [*reversed(debian), *([Path(found).resolve().parent] if found else [])]
    return next(
        (place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None
    )


def _server_user() -> str | None:
    """Return whom the server runs as: nobody special, unless this is root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _memory() -> Path | None:
    """Return a folder in memory with room for a server: a database is made there in a fifth of the time."""
    if not os.access(_MEMORY, os.W_OK):
        return None
    room = os.statvfs(_MEMORY)
    return _MEMORY if room.f_bavail * room.f_frsize >= _MEMORY_BYTES else None


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running server with a `filled` database that holds the newest schema."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb and postgres are not installed")
    # Not under pytest's own folder: only its owner may enter that one. And a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="readside-pg-", dir=_memory()))
    server = Cluster(binaries=binaries, folder=folder, user=_server_user())
    if server.user is not None:
        shutil.chown(folder, server.user)
    data = str(folder / "data")
    try:
        server.run(
            "initdb", "-D", data, "-U", "readside", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
        )
        # No disk to survive on: nothing here outlives the tests.
        options = (
            f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB -c max_connections=40"
            " -c max_wal_size=256MB"
        )
        server.run(
            "pg_ctl", "-D", data, "-l", str(folder / "server.log"), "-o", options, "-w", "-t", "30", "start"
        )
        try:
            server.execute("CREATE DATABASE filled")
            open_ledger(server.url("filled")).close()
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the state machines of a test walk on the server."""
    monkeypatch.setattr(Walked, "cluster", cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on."""
    return str(request.param)


@pytest.fixture
def empty_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where an empty database is, without any table."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    server: Cluster = request.getfixturevalue("cluster")
    name = server.database()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def ledger_url(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest, newest_schema: Path
) -> Iterator[str]:
    """Where a test's own ledger lies."""
    if dialect == "sqlite":
        shutil.copyfile(newest_schema, tmp_path / "ledger.sqlite3")
        yield f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
        return
    server: Cluster = request.getfixturevalue("cluster")
    name = server.database(template="filled")
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def fresh_ledger(
    dialect: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    clock: HeldClock,
    newest_schema: Path,
) -> Iterator[Callable[[], Ledger]]:
    """Make as many empty ledgers as a test likes."""
    opened: list[Ledger] = []

    def make() -> Ledger:
        if dialect == "sqlite":
            path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
            shutil.copyfile(newest_schema, path)
            url = f"sqlite:///{path}"
        else:
            server: Cluster = request.getfixturevalue("cluster")
            url = server.url(server.database(template="filled"))
        opened.append(open_ledger(url, clock=clock))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
