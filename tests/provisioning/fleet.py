"""A fleet on loopback: the registry's real server, and simulated devices that speak to it as boxes do.

A simulated device believes the signed lists as a box does (the same `Trust`), and signs what it reports with
a key of its own; only the model in it is played.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from fastapi import FastAPI

from appliance.core.clock import HeldClock
from appliance.health.codes import Kind
from appliance.health.schema import Record
from appliance.sync.assignment import assigned_to
from appliance.sync.carrier import carrier_of
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import DIRECTOR, reference
from appliance.sync.softkey import SoftwareKey
from appliance.sync.trust import Trust
from provisioning.registry.book import Book
from provisioning.registry.database import accounts, devices
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import Database, open_database, url_of
from provisioning.registry.database.words import Role
from provisioning.registry.promote import make_known
from provisioning.registry.publish import releases
from provisioning.registry.server.app import DUTIES, application
from provisioning.registry.server.limits import ServerLimits
from provisioning.registry.server.setting import Setting
from tests.provisioning.registry.given import Served, key, serving

PASSWORD = "correct horse battery"
PEOPLE = {"otto": Role.OPERATOR, "ann": Role.APPROVER, "vera": Role.VIEWER}
# Studies by turnaround; cells are those of the telemetry.
TIMES = (100, 400, 300, 150, 50, 0, 0, 0, 0, 0, 0, 0)
_LONG = 10_000


@dataclass(kw_only=True)
class Reporter:
    """A device's voice: a key, a slot, and records that are numbered."""

    slot: str
    gpu: str
    vendor: str
    site: str
    key: SoftwareKey = field(default_factory=key)
    seq: int = 0

    def report(self, served: Served, values: Sequence[Mapping[str, Any]], *, at: float) -> None:
        """Send how releases stand here, signed."""
        records = []
        for one in values:
            self.seq += 1
            records.append(Record(seq=self.seq, at=int(at), kind=Kind.STATE, values=dict(one)))
        answer = served.batch(self.key, records, at=at)
        assert answer.status_code == 200, answer.text
        assert answer.json()["acknowledged"] == self.seq


@dataclass(kw_only=True)
class Device(Reporter):
    """A box of which only the model is played; `bad` are versions whose golden cases fail on its GPU."""

    model: str
    folder: Path
    root: bytes
    digests: dict[str, str]
    bad: frozenset[str] = frozenset()
    reachable: bool = True
    serves: str = ""
    former: str = ""
    ever: list[str] = field(default_factory=list)
    studies: dict[str, int] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def turn(self, served: Served, clock: HeldClock, studies: int) -> None:
        """Look at the registry, do what is assigned, and report."""
        if not self.reachable:
            return
        with closing(carrier_of(served.url)) as carrier:
            trust = Trust(
                repository=DIRECTOR, folder=self.folder, root=self.root, carrier=carrier, clock=clock
            )
            lines = assigned_to(self.slot, trust, trust.refresh())
        (version,) = [line.version for line in lines if line.name == self.model]
        self.ever += [version] if version not in self.ever else []
        if version in self.bad:
            self.rejected.add(version)
        elif version != self.serves:
            self.former, self.serves = self.serves, version
        self.studies[self.serves] = self.studies.get(self.serves, 0) + studies
        self.report(served, [self._values(one) for one in (*self.studies, *self.rejected)], at=clock.now())

    def _values(self, version: str) -> dict[str, Any]:
        done = self.studies.get(version, 0)
        refused = version in self.rejected
        said = {
            "release": reference(self.digests[version]),
            "phase": int(Phase.REFUSED if refused else Phase.COMMITTED),
            "reason": code_of(Word.REJECTED if refused else Word.CURRENT),
            "serving": version == self.serves,
        }
        # As a box does: what a version did is told while it serves.
        return (
            said
            if version != self.serves
            else said
            | {
                "studies": done // 5 * 5,
                "failures": 0,
                "positives": done // 25 * 5,
                "turnaround": tuple(done * cell // 1_000 // 5 * 5 for cell in TIMES),
            }
        )


@dataclass(kw_only=True)
class Fleet:
    """The registry and everybody who speaks to it."""

    book: Book
    clock: HeldClock
    database: Database
    served: Served
    app: FastAPI
    model: str
    devices: list[Device] = field(default_factory=list)

    def slot(self, reporter: Reporter) -> None:
        """Make a slot with an enrolled device in it."""
        make_known(self.book, reporter.slot)
        words: dict[str, Any] = {"site": reporter.site, "gpu": reporter.gpu, "vendor": reporter.vendor}
        pem = reporter.key.public_pem.decode()
        at = self.clock.now()
        with self.database.write() as tx:
            devices.add_slot(tx, Slot(name=reporter.slot, **words), at=at)
            devices.enrol(tx, reporter.key.id, slot=reporter.slot, serial="S", public_key=pem, at=at)

    def ring(self, number: int, *slots: str) -> None:
        """Put slots into a ring."""
        with self.database.write() as tx:
            for slot in slots:
                assert devices.change_slot(tx, slot, ring=number)

    def device(self, slot: str, folder: Path, **words: Any) -> Device:
        """Add a simulated device."""
        root = self.book.lists(DIRECTOR).root_bytes()
        made = Device(slot=slot, model=self.model, folder=folder / slot, root=root, digests={}, **words)
        self.slot(made)
        self.devices.append(made)
        return made

    def carry_out(self) -> None:
        """Take the turn that a process of the server takes every few seconds."""
        (duty,) = [one for one in DUTIES if one.name == "roll out"]
        duty.work(self.app.state.room)

    def turn(self, studies: int = 0) -> None:
        """Let every simulated device look and report, several at a time."""
        digests = {one.version: one.digest for one in releases(self.book) if one.name == self.model}
        with ThreadPoolExecutor(4) as pool:
            for device in self.devices:
                device.digests = digests
            list(pool.map(lambda device: device.turn(self.served, self.clock, studies), self.devices))

    def say(self, name: str, path: str, **body: Any) -> dict[str, Any]:
        """Let a person change something over HTTP."""
        answer = self.served.post(f"/api/v1/rollouts{path}", json=body, auth=(name, PASSWORD))
        said: dict[str, Any] = answer.json()
        return {"status": answer.status_code, **said}

    def show(self, number: int, tail: str = "") -> dict[str, Any]:
        """Return what a viewer is shown."""
        answer = self.served.get(f"/api/v1/rollouts/{number}{tail}", auth=("vera", PASSWORD))
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


@contextmanager
def fleet(book: Book, clock: HeldClock, model: str) -> Iterator[Fleet]:
    """Serve a registry, with people who may log in, until the block ends."""
    # The test takes the turns itself: then it knows what happened between two of them.
    limits = replace(ServerLimits(), duty_seconds=_LONG, judge_seconds=0.0, versions_seconds=0.0)
    app = application(Setting(folder=book.folder, clock=clock, limits=limits))
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with (
        closing(open_database(url_of(book.folder), clock=clock)) as database,
        serving(app) as served,
    ):
        with database.write() as tx:
            for name, role in PEOPLE.items():
                accounts.add(tx, name, hasher.hash(PASSWORD), role, at=clock.now())
        yield Fleet(book=book, clock=clock, database=database, served=served, app=app, model=model)
