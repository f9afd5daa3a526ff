"""The ways of versions, walked at random: at most one serves, and a number means one digest."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from appliance.ledger import versions
from appliance.ledger.states import VersionState
from appliance.ledger.versions import Arrival, OtherDigest, StillNeeded, Version
from tests.appliance.ledger import given
from tests.appliance.ledger.machines import Walked

NUMBERS = st.sampled_from(["1.0.0", "1.1.0"])
CONTENTS = st.sampled_from("ab")
HERE = {VersionState.FETCHED, VersionState.ACTIVE, VersionState.RETIRED}


@dataclass
class Known:
    """What was promised of one package."""

    state: VersionState
    served: bool = False
    removed: bool = False


class Versions(Walked):
    """Packages come, pass or fail, serve, give way and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[str, str], Known] = {}
        self.mark = 0

    def row(self, number: str, content: str) -> Version | None:
        """Return the row of a package if its files are here."""
        with self.ledger.read() as tx:
            row = versions.of_digest(tx, f"sha256:{number}{content}")
        return row if row is not None and row.here else None

    def others(self, number: str, content: str) -> list[Known]:
        """Return what other bytes have the number."""
        found = [k for (n, c), k in self.known.items() if n == number and c != content]
        return [k for k in found if k.state is not VersionState.REJECTED]

    @rule(number=NUMBERS, content=CONTENTS)
    def comes(self, number, content):
        """Install a package that is sound."""
        if self.row(number, content) is not None:
            return
        arrival = Arrival(name="m", version=number, digest=f"sha256:{number}{content}", source="f")
        try:
            with self.ledger.write() as tx:
                versions.fetched(tx, arrival, evidence={}, at=given.NOW, by="jo")
        except OtherDigest:
            assert self.others(number, content)
            return
        assert not self.others(number, content)
        served = self.known.get((number, content), Known(VersionState.FETCHED)).served
        self.known[number, content] = Known(VersionState.FETCHED, served=served)

    @rule(number=NUMBERS, content=CONTENTS)
    def is_refused(self, number, content):
        """Install a package that is not sound."""
        if self.row(number, content) is not None:
            return
        arrival = Arrival(name="m", version=number, digest=f"sha256:{number}{content}", source="f")
        with self.ledger.write() as tx:
            versions.refused(tx, arrival, evidence={"faults": ["f"]}, at=given.NOW, by="jo")
        self.known.setdefault((number, content), Known(VersionState.REJECTED))

    @rule(number=NUMBERS, content=CONTENTS, ends=st.sampled_from(["passes", "fails", "is cut off"]))
    def is_checked(self, number, content, ends):
        """Activate, and see it through or not."""
        row = self.row(number, content)
        if row is None or row.state is VersionState.ACTIVE:
            return
        known = self.known[number, content]
        with self.ledger.write() as tx:
            row = versions.verifying(tx, versions.building(tx, row, at=given.NOW), at=given.NOW)
        with self.ledger.write() as tx:
            if ends == "passes":
                versions.activated(tx, row, evidence={}, former_digest=None, at=given.NOW, by="jo")
            elif ends == "fails":
                versions.failed(tx, row, evidence={}, at=given.NOW, by="jo")
            else:
                versions.release_interrupted(tx, at=given.NOW)
        if ends == "passes":
            for other in self.known.values():
                other.state = VersionState.RETIRED if other.state is VersionState.ACTIVE else other.state
            known.state, known.served = VersionState.ACTIVE, True
        elif known.served:
            known.state = VersionState.RETIRED
        else:
            known.state = VersionState.REJECTED if ends == "fails" else VersionState.FETCHED

    @rule()
    def gives_way(self):
        """Retire what serves."""
        with self.ledger.write() as tx:
            row = versions.active(tx).get("m")
            if row is not None:
                versions.retired(tx, row, at=given.NOW, by="jo")
        for known in self.known.values():
            known.state = VersionState.RETIRED if known.state is VersionState.ACTIVE else known.state

    @rule(number=NUMBERS, content=CONTENTS)
    def goes(self, number, content):
        """Remove its files."""
        row = self.row(number, content)
        if row is None:
            return
        try:
            with self.ledger.write() as tx:
                versions.removed(tx, row, at=given.NOW, by="jo")
        except StillNeeded:
            assert self.known[number, content].state is VersionState.ACTIVE
            return
        known = self.known[number, content]
        known.state, known.removed = VersionState.RETIRED, True

    @invariant()
    def rows_are_what_was_promised(self):
        """Every package is one row, in its state; one serves at most; the mark never goes back."""
        with self.ledger.read() as tx:
            rows = versions.everything(tx)
            active, mark = versions.active(tx), versions.mark(tx)
        found = {(row.version, row.digest[-1]): (row.state, row.here) for row in rows}
        assert len(found) == len(rows)
        assert found == {
            key: (known.state, known.state in HERE and not known.removed) for key, known in self.known.items()
        }
        serving = [key for key, known in self.known.items() if known.state is VersionState.ACTIVE]
        assert [(row.version, row.digest[-1]) for row in active.values()] == serving
        assert len(serving) <= 1
        assert mark >= self.mark
        self.mark = mark


TestVersions = Versions.TestCase
TestVersions.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.usefixtures("on_server")
class TestVersionsOnAServer(Versions.TestCase):  # type: ignore[valid-type, misc]  # made by hypothesis
    """The same on the other database."""

    settings = settings(TestVersions.settings, max_examples=4)
