"""What a device remembers outside of the signed lists, so that an old or a wiped state cannot lead it back.

The Update Framework keeps versions in its own state; who wipes that state is shown old lists as new ones,
and who sets the clock back is shown expired ones as fresh (measured with python-tuf).
These floors stand beside it: the highest release that served of each model, the newest offline-signed list,
the latest time known to be past.

Promises: a floor only rises; the file is whole or the device takes nothing new.
Never: takes a number from an online key alone: what raises a floor was signed offline, or is its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from appliance.core.config import Config
from appliance.disk.durable import make_folder, write_file
from appliance.inference.lock import locked
from appliance.sync.refusal import Refusal, Word
from appliance.sync.standing import registry_folder

# No box that runs this code lives before this day.
BUILT_AT: Final = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
_FLOORS_FILE = "floors.json"
_BYTES_MAX = 1_000_000
# These two keep the file far below that.
_REFUSED_MAX = 200
_SENTENCE_CHARACTERS_MAX = 500
# A change is one small file; who holds it longer hangs.
_WAIT_SECONDS_MAX = 5.0


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A package that this device rejected: it is not tried again."""

    word: str
    sentence: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Floors:
    """The floors of one device.

    Attributes:
        clock_at: no clock of this device is right that shows less; epoch seconds.
        targets_version: of the newest offline-signed list that this device held good.
        targets_keys: the keys that it counts for; others begin anew, or a stolen key could lock a device out.
        counters: model -> the highest release counter that served.
        settled: model -> the digest that a registry's assignment made serve; a person may choose otherwise.
        refused: digest -> why this device rejected it.
    """

    clock_at: float = BUILT_AT
    targets_version: int = 0
    targets_keys: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)

    def at_least(self, at: float) -> Floors:
        """Return these floors with a clock that is not before `at`."""
        return replace(self, clock_at=max(self.clock_at, at))

    def held_good(self, version: int, keys: Sequence[str]) -> Floors:
        """Return these floors with a list of releases that was held good."""
        if tuple(keys) == self.targets_keys:
            version = max(version, self.targets_version)
        return replace(self, targets_version=version, targets_keys=tuple(keys))

    def served(self, name: str, digest: str, counter: int) -> Floors:
        """Return these floors with a release that serves now because a registry assigned it."""
        counters = {**self.counters, name: max(counter, self.counters.get(name, 0))}
        return replace(self, counters=counters, settled={**self.settled, name: digest})

    def rejected(self, digest: str, refused: Refused) -> Floors:
        """Return these floors with a package that is not tried again; of very many, the last ones."""
        short = replace(refused, sentence=refused.sentence[:_SENTENCE_CHARACTERS_MAX])
        others = [(key, kept) for key, kept in self.refused.items() if key != digest]
        return replace(self, refused=dict([*others[1 - _REFUSED_MAX :], (digest, short)]))

    def forgiven(self) -> Floors:
        """Return these floors with nothing remembered against any package, because a person said so."""
        return replace(self, refused={}, settled={})


@dataclass(frozen=True, kw_only=True)
class FloorBook:
    """The floors of one box, which several threads and commands may raise; `given` as for `read_floors`."""

    path: Path
    given: Path

    def read(self) -> Floors:
        """Return the floors as they are now.

        Raises:
            Refusal: they are there and cannot be used.
        """
        return read_floors(self.path, self.given)

    def change(self, made: Callable[[Floors], Floors]) -> Floors:
        """Make other floors of those that are there now, with nobody else between, and keep them.

        Raises:
            Refusal: they cannot be used, or another command does not let go of them.
            NoSpace, DiskFault: the disk is full or failed.
        """
        make_folder(self.path.parent)
        try:
            with locked(self.path.with_name("floors.lock"), seconds_max=_WAIT_SECONDS_MAX):
                before = self.read()
                after = made(before)
                if after != before or not self.path.exists():
                    write_floors(self.path, after)
                return after
        except TimeoutError as error:
            raise Refusal(Word.BUSY, "another command holds the floors of this box") from error


def book_of(config: Config) -> FloorBook:
    """Return the floors of a box."""
    path = registry_folder(config.storage.root) / _FLOORS_FILE
    return FloorBook(path=path, given=config.registry.roots / _FLOORS_FILE)


def read_floors(path: Path, given: Path) -> Floors:
    """Read the device's floors; `given` are those that it was claimed with, which count where it has none.

    Raises:
        Refusal: a file is there and cannot be used; to begin from nothing would be what an attacker wants.
    """
    if path.exists():
        return _read(path)
    return _read(given) if given.exists() else Floors()


def write_floors(path: Path, floors: Floors) -> None:
    """Keep the floors, durably.

    Raises:
        NoSpace, DiskFault: the disk is full or failed.
    """
    make_folder(path.parent)
    write_file(path, json.dumps(asdict(floors), indent=1).encode())


def _read(path: Path) -> Floors:
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ValueError("it is too large")
        said = json.loads(path.read_text(encoding="utf-8"))
        return _parsed(said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refusal(
            Word.FLOORS_DAMAGED,
            f"{path.name} cannot be read ({type(error).__name__}); restore it, or claim this device anew",
        ) from error


def _parsed(said: Mapping[str, Any]) -> Floors:
    return Floors(
        clock_at=max(float(said["clock_at"]), BUILT_AT),
        targets_version=int(said["targets_version"]),
        targets_keys=tuple(str(key) for key in said["targets_keys"]),
        counters={str(name): int(counter) for name, counter in said["counters"].items()},
        settled={str(name): str(digest) for name, digest in said.get("settled", {}).items()},
        refused={str(digest): Refused(**kept) for digest, kept in said.get("refused", {}).items()},
    )
