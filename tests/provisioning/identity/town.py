"""A registry that is served for real, and machines that want to be one of its devices."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.sync.est import Desk
from appliance.sync.identity import Certificate, certificate_in, identity_of
from appliance.sync.signing import Signer
from provisioning.identity.code import Invitation
from provisioning.identity.enrol import Claimed, Home, enrol
from provisioning.registry import enrolment
from provisioning.registry.book import Book
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import open_database, url_of
from provisioning.registry.enrolment import Office
from provisioning.registry.server.app import application
from provisioning.registry.server.run import uvicorn_options
from provisioning.registry.server.setting import Setting
from tests.provisioning.field import NOW

DAY = 86_400.0
SLOT = "box-1"


@dataclass(kw_only=True)
class Machine:
    """One piece of hardware: a folder for what it is given, and a clock."""

    folder: Path
    url: str
    clock: HeldClock

    @property
    def roots(self) -> Path:
        return self.folder / "roots"

    @property
    def config(self) -> Config:
        registry = {"url": self.url, "device": SLOT, "roots": str(self.roots)}
        storage = {"root": str(self.folder / "data"), "floor_gib": 0.01}
        return parse({"site": {"name": "Test"}, "storage": storage, "registry": registry})

    @property
    def key(self) -> Signer:
        found = identity_of(self.config)
        assert found is not None
        return found

    @property
    def certificate(self) -> Certificate:
        found = certificate_in(self.roots)
        assert found is not None
        return found

    @property
    def desk(self) -> Desk:
        return Desk(url=self.url, key=self.key, clock=self.clock)

    def enrol(self, invitation: Invitation, *, home: Home = Home.FILE, new_key: bool = False) -> Claimed:
        return enrol(
            self.roots, invitation, home=home, new_key=new_key, serial=self.folder.name, clock=self.clock
        )


@dataclass(kw_only=True)
class Town:
    """One registry, its server, and the time there."""

    folder: Path
    clock: HeldClock
    office: Office
    url: str
    machines: dict[str, Machine] = field(default_factory=dict)

    def invite(self, slot: str = SLOT, *, replaces: bool = False, days: float = 7) -> Invitation:
        place = Slot(name=slot, site="north")
        return enrolment.invite(self.office, place, url=self.url, who="jo", replaces=replaces, days=days)

    def machine(self, name: str) -> Machine:
        """Give a machine whose clock is the registry's."""
        made = Machine(folder=self.folder / name, url=self.url, clock=self.clock)
        return self.machines.setdefault(name, made)


def drawn(folder: Path) -> None:
    """Make a registry's folder, with everything that is made on first need: others are copies of it."""
    book = Book(folder=folder / "registry", clock=HeldClock(NOW))
    book.create(folder / "keys")
    with closing(open_database(url_of(book.folder), clock=book.clock)) as database:
        office = Office(book=book, database=database)
        office.authorities()
        office.digest(SLOT, "")


@contextmanager
def founded(folder: Path, plan: Path, database_url: str = "") -> Iterator[Town]:
    """Serve a registry on loopback while the block runs."""
    clock = HeldClock(NOW)
    shutil.copytree(plan / "registry", folder / "registry")
    book = Book(folder=folder / "registry", clock=clock)
    setting = Setting(folder=book.folder, database=database_url, clock=clock)
    server = uvicorn.Server(
        uvicorn.Config(application(setting), host="127.0.0.1", port=0, **uvicorn_options(setting.limits))
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end, "the server does not start"
        assert thread.is_alive(), "the server died"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    database = open_database(setting.database_url, clock=clock)
    try:
        office = Office(book=book, database=database)
        yield Town(folder=folder, clock=clock, office=office, url=f"http://127.0.0.1:{port}")
    finally:
        database.close()
        server.should_exit = True
        thread.join(timeout=30)
