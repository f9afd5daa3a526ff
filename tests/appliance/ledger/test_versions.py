"""Versions of models: one active for a name, a number means one digest, nothing that is waited for goes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from appliance.ledger import events, results, versions
from appliance.ledger.engine import Ledger
from appliance.ledger.states import VERSION, VersionState
from appliance.ledger.tables import model_versions
from appliance.ledger.versions import Arrival, OtherDigest, Overtaken, StillNeeded, Version
from tests.appliance.ledger import given

NOW = given.NOW


def arrival(version: str = "1.0.0", digest: str = "sha256:a", *, name: str = "bands") -> Arrival:
    return Arrival(name=name, version=version, digest=digest, source="bands.zip")


def install(ledger: Ledger, version: str = "1.0.0", digest: str = "sha256:a", **named: str) -> Version:
    with ledger.write() as tx:
        return versions.fetched(tx, arrival(version, digest, **named), evidence={}, at=NOW, by="jo")


def activate(ledger: Ledger, version: Version, former: str | None = None) -> Version:
    with ledger.write() as tx:
        verified = versions.verifying(tx, versions.building(tx, version, at=NOW), at=NOW)
        return versions.activated(
            tx, verified, evidence={"engine": "cpu"}, former_digest=former, at=NOW + 1, by="jo"
        )


def now(ledger: Ledger, version: Version) -> Version:
    with ledger.read() as tx:
        found = versions.of_digest(tx, version.digest)
    assert found is not None
    return found


def words(ledger: Ledger) -> list[str]:
    with ledger.read() as tx:
        return [event.word for event in reversed(events.latest(tx, 20))]


def test_an_activation_retires_the_one_before_and_says_who_did_it(ledger):
    old = activate(ledger, install(ledger))
    new = activate(ledger, install(ledger, "1.1.0", "sha256:b"), former=old.digest)
    assert (now(ledger, old).state, new.state) == (VersionState.RETIRED, VersionState.ACTIVE)
    assert (new.former_digest, new.activated_at, new.evidence) == ("sha256:a", NOW + 1, {"engine": "cpu"})
    with ledger.read() as tx:
        assert versions.active(tx) == {"bands": new}
        event = events.latest(tx, 1)[0]
    assert event.word == "model.activated"
    assert event.detail == {
        "model": "bands",
        "version": "1.1.0",
        "digest": "sha256:b",
        "by": "jo",
        "instead_of": "1.0.0",
    }


def test_the_database_itself_holds_one_active_version_of_a_name(ledger):
    activate(ledger, install(ledger))
    other = install(ledger, "1.1.0", "sha256:b")
    activate(ledger, install(ledger, "1.0.0", "sha256:c", name="lesion"))
    force = sa.update(model_versions).where(model_versions.c.id == other.id).values(state="ACTIVE")
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as tx:
        tx.execute(force)


def test_a_version_that_was_changed_meanwhile_is_not_moved(ledger):
    version = install(ledger)
    with ledger.write() as tx:
        versions.building(tx, version, at=NOW)
    with pytest.raises(Overtaken, match=r"bands 1\.0\.0"), ledger.write() as tx:
        versions.building(tx, version, at=NOW)


def test_a_number_belongs_to_one_digest_and_both_are_said(ledger):
    install(ledger)
    with (
        ledger.write() as tx,
        pytest.raises(OtherDigest, match=r"digest sha256:a; this package has sha256:b"),
    ):
        versions.fetched(tx, arrival(digest="sha256:b"), evidence={}, at=NOW, by="jo")
    forced = arrival(digest="sha256:b")
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as tx:
        versions._insert(tx, forced, VersionState.FETCHED, {}, NOW)


def test_the_mark_changes_with_every_change_and_with_nothing_else(ledger):
    seen: list[int] = []

    def look(_: Any = None) -> None:
        with ledger.read() as tx:
            seen.append(versions.mark(tx))

    look()
    version = install(ledger)
    look()
    look(activate(ledger, version))
    with ledger.write() as tx:
        retired = versions.retired(tx, now(ledger, version), at=NOW, by="jo")
    look()
    with ledger.write() as tx:
        versions.removed(tx, retired, at=NOW, by="jo")
    look()
    assert seen == sorted(set(seen))
    look()
    assert seen[-1] == seen[-2]


def test_what_was_refused_may_come_again_with_the_same_or_other_bytes(ledger):
    with ledger.write() as tx:
        first = versions.refused(tx, arrival(), evidence={"faults": ["a"]}, at=NOW, by="jo")
        again = versions.refused(tx, arrival(), evidence={"faults": ["b"]}, at=NOW, by="jo")
    assert (first.id, first.state, again.evidence) == (again.id, VersionState.REJECTED, {"faults": ["b"]})
    assert not again.here
    better = install(ledger, digest="sha256:b")
    assert (better.state, better.id == first.id) == (VersionState.FETCHED, False)
    with ledger.read() as tx:
        assert versions.find(tx, "bands", "1.0.0") == better
    assert words(ledger) == ["model.refused", "model.refused", "model.installed"]


def test_what_could_not_even_be_opened_is_one_row_however_often_it_comes(ledger):
    for fault in ("a", "b"):
        with ledger.write() as tx:
            row = versions.refused(tx, arrival(digest=""), evidence={"faults": [fault]}, at=NOW, by="jo")
    with ledger.read() as tx:
        assert versions.everything(tx) == [row]
    assert row.evidence == {"faults": ["b"]}


def test_a_version_that_fails_its_check_is_rejected_and_one_that_served_is_only_retired(ledger):
    new = install(ledger)
    with ledger.write() as tx:
        row = versions.failed(tx, versions.building(tx, new, at=NOW), evidence={"word": "x"}, at=NOW, by="jo")
    assert (row.state, row.evidence) == (VersionState.REJECTED, {"word": "x"})
    old = activate(ledger, install(ledger, "1.1.0", "sha256:b"))
    activate(ledger, install(ledger, "1.2.0", "sha256:c"))
    with ledger.write() as tx:
        back = versions.building(tx, now(ledger, old), at=NOW)
        assert versions.failed(tx, back, evidence={}, at=NOW, by="jo").state is VersionState.RETIRED


def test_a_check_that_was_cut_off_is_put_back(ledger):
    new = install(ledger)
    old = activate(ledger, install(ledger, "1.1.0", "sha256:b"))
    activate(ledger, install(ledger, "1.2.0", "sha256:c"))
    with ledger.write() as tx:
        versions.building(tx, new, at=NOW)
        versions.verifying(tx, versions.building(tx, now(ledger, old), at=NOW), at=NOW)
    with ledger.write() as tx:
        assert len(versions.release_interrupted(tx, at=NOW)) == 2
        assert versions.release_interrupted(tx, at=NOW) == []
    assert now(ledger, new).state is VersionState.FETCHED
    assert now(ledger, old).state is VersionState.RETIRED


def test_nothing_is_removed_that_serves_or_that_a_job_waits_for(ledger):
    version = activate(ledger, install(ledger, digest=given.work("x").model_digest))
    with ledger.write() as tx, pytest.raises(StillNeeded, match="ACTIVE"):
        versions.removed(tx, version, at=NOW, by="jo")
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        version = versions.retired(tx, version, at=NOW, by="jo")
        with pytest.raises(StillNeeded, match="1 jobs still wait"):
            versions.removed(tx, version, at=NOW, by="jo")
        job = given.leased(tx, job_id)
        with pytest.raises(StillNeeded, match="1 jobs still wait"):
            versions.removed(tx, version, at=NOW, by="jo")
        assert results.end(tx, job, given.ending(job_id), at=NOW)
        gone = versions.removed(tx, version, at=NOW, by="jo")
        assert (gone.state, gone.here, gone.removed_at) == (VersionState.RETIRED, False, NOW)


def test_a_removed_version_comes_back_only_as_the_same_bytes(ledger):
    version = install(ledger)
    with ledger.write() as tx:
        gone = versions.removed(tx, version, at=NOW, by="jo")
        assert (gone.state, gone.here) == (VersionState.RETIRED, False)
        with pytest.raises(OtherDigest):
            versions.fetched(tx, arrival(digest="sha256:b"), evidence={}, at=NOW, by="jo")
        refused = versions.refused(tx, arrival(), evidence={"faults": ["a"]}, at=NOW, by="jo")
        assert (refused.state, refused.here) == (VersionState.RETIRED, False)
    back = install(ledger)
    assert (back.id, back.state, back.here) == (version.id, VersionState.FETCHED, True)


ILLEGAL = [(a, b) for a in VersionState for b in VersionState if b not in VERSION[a]]


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
def test_a_version_cannot_be_moved_past_the_table(ledger, source, target):
    version = install(ledger)
    with ledger.write() as tx:
        forced = versions._change(tx, version, NOW, state=source)
        with pytest.raises(AssertionError, match=f"{source} -> {target} is not in the table"):
            versions._move(tx, forced, target, NOW)
