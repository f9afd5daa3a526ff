"""A registry with two releases of a model, its database, and slots whose devices report by rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import HeldClock
from appliance.health.codes import Kind
from appliance.health.schema import Record
from appliance.sync.phase import Phase
from appliance.sync.release import reference
from appliance.sync.softkey import SoftwareKey
from provisioning.registry.book import Book
from provisioning.registry.database import telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.database.telemetry import Batch
from provisioning.registry.promote import make_known, promote
from provisioning.registry.publish import publish, releases
from provisioning.registry.rollout.controller import Controller
from provisioning.registry.rollout.decide import Proposal, assigned, decide, found, propose
from provisioning.registry.rollout.events import Approved
from tests.appliance import packages
from tests.provisioning.registry.given import enrolled
from tests.provisioning.registry.rollout.making import APPROVER, MAKER, MONDAY

NAME = packages.NAME
OLD, NEW, NEWER = "1.1.0", "1.2.0", "1.3.0"
VERSIONS = ("1.0.5", OLD, NEW, NEWER)


@pytest.fixture
def dialect() -> str:
    """Most of it is the same on both databases; what is not says so."""
    return "sqlite"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the releases, and its keys beside it."""
    folder = tmp_path_factory.mktemp("published")
    book = Book(folder=folder / "registry", clock=HeldClock(MONDAY))
    book.create(folder / "keys")
    for version in VERSIONS:
        publish(book, packages.bands(folder, version), [folder / "keys"])
    return folder


@dataclass
class Bench:
    """A registry, and what works on it."""

    folder: Path
    book: Book
    database: Database
    clock: HeldClock
    keys: dict[str, SoftwareKey] = field(default_factory=dict)
    seq: int = 0

    @property
    def controller(self) -> Controller:
        return Controller(database=self.database, book=self.book, judge_seconds=0.0)

    @property
    def holders(self) -> list[Path]:
        return [self.folder / "keys"]

    def slot(self, name: str, *, known: bool = True, **words: Any) -> None:
        """A slot whose device was heard of just now, and serves the old version."""
        given = {"gpu": "l4", "vendor": "siemens", "site": name, **words}
        self.keys[name] = enrolled(self.database, name, at=self.clock.now(), **given)
        if known:
            make_known(self.book, name)
            promote(self.book, NAME, OLD, [name])
        self.report(name, OLD, Phase.COMMITTED, studies=10_000, failures=0)

    def report(self, name: str, version: str, phase: Phase, **values: Any) -> None:
        """What a device says of a release."""
        said = {"phase": int(phase), "serving": phase in (Phase.SOAK, Phase.COMMITTED), **values}
        self.tell(name, Kind.STATE, version, **said)

    def tell(self, name: str, kind: Kind, version: str, **values: Any) -> None:
        self.seq += 1
        (digest,) = [one.digest for one in releases(self.book) if (one.name, one.version) == (NAME, version)]
        record = Record(
            seq=self.seq,
            at=int(self.clock.now()),
            kind=kind,
            values={"release": reference(digest), **values},
        )
        with self.database.write() as tx:
            telemetry.store(tx, [Batch(device=self.keys[name].id, records=[record])], at=self.clock.now())

    def start(self, version: str = NEW, *, approve: bool = True, **wish: Any) -> int:
        proposal = Proposal(model=NAME, version=version, by=MAKER, **{"shares": (1.0,), **wish})
        made = propose(self.database, self.book, proposal)
        if approve:
            decide(self.database, made.id, Approved(at=self.clock.now(), by=APPROVER))
        return made.id

    def look(self) -> None:
        self.controller.turn()

    def rollout(self, number: int) -> Rollout:
        with self.database.read() as tx:
            return found(tx, number)

    def versions(self) -> dict[str, str | None]:
        return assigned(self.book, NAME)


@pytest.fixture
def bench(tmp_path: Path, published: Path, database: Database, clock: HeldClock) -> Bench:
    """Two slots with the old version."""
    clock.seconds = MONDAY
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    made = Bench(folder, Book(folder=folder / "registry", clock=clock), database, clock)
    made.slot("a")
    made.slot("b")
    return made
