"""A registry with its publisher, a server, and one box whose model serves: what an attack is tried on."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata

from appliance.core.clock import HeldClock
from appliance.core.config import parse
from appliance.disk.durable import write_file
from appliance.ledger import events, versions
from appliance.ledger.engine import Ledger
from appliance.sync.box import ModelBox
from appliance.sync.carrier import Carrier, carrier_of
from appliance.sync.floors import BUILT_AT
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import PASSING, Word
from appliance.sync.release import IMAGE
from appliance.sync.standing import Outcome, Standing, read_standing
from appliance.sync.turn import Syncer
from provisioning.registry.book import Book
from provisioning.registry.metadata import Lists
from provisioning.registry.promote import claim, promote
from provisioning.registry.publish import publish
from tests.appliance import packages
from tests.provisioning.origin import Origin

NAME = packages.NAME
DEVICE = "box-1"
OLDER, SERVES, NEXT = "1.0.5", "1.1.0", "1.2.0"
DAY = 86_400.0
NOW = BUILT_AT + 100 * DAY


@dataclass
class Field:
    """One registry, one box."""

    folder: Path
    book: Book
    clock: HeldClock
    box: ModelBox
    origin: Origin
    limits: FetchLimits = field(default_factory=lambda: FETCH)

    @property
    def keys(self) -> list[Path]:
        return [self.folder / "keys"]

    @property
    def public(self) -> Path:
        return self.book.layout.public

    @property
    def known(self) -> Path:
        """Where the box keeps what it knows of its registry."""
        return self.box.root / "registry"

    def lists(self, repository: str = IMAGE) -> Lists:
        return self.book.lists(repository)

    def publish(self, version: str, **needs: Any) -> None:
        publish(self.book, packages.bands(self.folder, version), self.keys, **needs)

    def promote(self, version: str) -> None:
        promote(self.book, NAME, version, [DEVICE])

    def offer(self, version: str = NEXT) -> None:
        """Publish a release and assign it to the box."""
        self.publish(version)
        self.promote(version)

    def copied(self, name: str = "copy") -> Path:
        """Give a copy of the public tree as it is now."""
        return Path(shutil.copytree(self.public, self.folder / name))

    def turn(
        self, carrier: Carrier | None = None, *, again: bool = False, any_time: bool = False
    ) -> Standing:
        with closing(carrier or carrier_of(self.origin.url, limits=self.limits)) as found:
            syncer = Syncer(box=self.box, carrier=found, limits=self.limits, any_time=any_time)
            return syncer.turn(again=again)

    def word(self, carrier: Carrier | None = None) -> Word:
        """Take a turn whose only outcome is this."""
        return self.outcome(carrier).word

    def outcome(self, carrier: Carrier | None = None) -> Outcome:
        (outcome,) = self.turn(carrier).outcomes
        return outcome

    def refused(self, word: Word, carrier: Carrier | None = None) -> str:
        """Take a turn that is refused with a word, told everywhere while the old model serves; return why."""
        outcome = self.outcome(carrier)
        assert outcome.word is word, outcome
        assert self.serving() == SERVES
        standing = read_standing(self.box.root)
        assert standing is not None
        assert [one.word for one in standing.outcomes] == [word]
        with self.box.ledger.read() as tx:
            event = events.latest(tx, 1, word="registry.away" if word in PASSING else "registry.refused")[0]
        assert event.detail["reason"] == word
        return outcome.sentence

    def serving(self) -> str:
        return self.box.catalogue().serving()[NAME].version

    def stamp_forged(self, repository: str, role: str, **changes: Any) -> None:
        """Sign a list of the server's own anew with its stolen key, changed."""
        lists = self.lists(repository)
        newest = lists.folder / "timestamp.json"
        if role != "timestamp":
            newest = max(lists.folder.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))
        metadata = Metadata[Any].from_bytes(newest.read_bytes())
        for name, value in changes.items():
            setattr(metadata.signed, name, value)
        metadata.sign(self.book.online(repository)[role][0])
        place = newest if role == "timestamp" else lists.folder / f"{metadata.signed.version}.{role}.json"
        write_file(place, metadata.to_bytes())

    def patient(self, **bounds: Any) -> None:
        """Give the device other bounds."""
        self.limits = replace(self.limits, **bounds)


def made(folder: Path, ledger: Ledger, ledger_url: str, clock: HeldClock, origin: Origin) -> Field:
    """Make a registry with two releases, and a box on which the second serves."""
    clock.seconds = NOW
    book = Book(folder=folder / "registry", clock=clock)
    book.create(folder / "keys")
    claim(book, DEVICE, folder / "roots")
    (folder / "box").mkdir()
    tree = {
        "site": {"name": "Test"},
        "ledger": {"url": ledger_url},
        "storage": {"root": str(folder / "box"), "floor_gib": 0.01},
        "registry": {"url": origin.url, "device": DEVICE, "roots": str(folder / "roots")},
    }
    box = ModelBox(config=parse(tree), ledger=ledger, by="jo")
    made = Field(folder=folder, book=book, clock=clock, box=box, origin=origin)
    origin.tree = made.public
    made.publish(OLDER)
    made.publish(SERVES)
    made.promote(SERVES)
    row = packages.put(ledger, box.root, folder / f"{NAME}-{SERVES}")
    packages.activate(ledger, row, former=packages.shipped().digest)
    assert made.word() is Word.CURRENT
    with ledger.read() as tx:
        assert versions.active(tx)[NAME].version == SERVES
    return made
