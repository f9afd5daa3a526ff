"""Custody: which files are whose, what is closed, and what may be given up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from appliance.core.instance import Location
from appliance.core.words import InstanceState, StudyState
from appliance.ledger import arrivals, counts, custody, deliveries, events, jobs
from tests.appliance.ledger import given

LATER = given.NOW + 1e6


def file_of(number, **other):
    return given.instance(number, **other).location.file


def place_of(number):
    return given.instance(number).location


NOWHERE = Location(file="in/unknown", offset=0, length=1)


def settled(ledger):
    """A study whose result was delivered everywhere."""
    job = given.ended(ledger)
    for peer in ("pacs", "archive"):
        for parcel in given.parcels(ledger, peer):
            with ledger.write() as tx:
                deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
    return job


def closed(ledger):
    with ledger.write() as tx:
        return custody.close_finished(tx)


def purgeable(ledger, *, before=LATER, limit=10):
    with ledger.read() as tx:
        return custody.purgeable(tx, before=before, limit=limit)


def test_files_are_known_until_they_are_given_up(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2, 3)
        custody.purge(tx, [given.instance(1)], at=given.NOW)
        custody.quarantine_at(tx, [place_of(2)], reason="digest differs", at=given.NOW)
        assert custody.known_files(tx) == {file_of(3)}
        assert custody.purged_among(tx, [file_of(1), file_of(2), "in/unknown"]) == {file_of(1)}


def test_a_former_revision_keeps_its_file(ledger):
    changed = given.instance(1, content="b")
    with ledger.write() as tx:
        given.kept(tx, 1)
        arrivals.add(tx, changed, calling_ae="CT1", at=given.NOW)
        assert custody.known_files(tx) == {file_of(1), changed.location.file}


def test_a_quarantine_is_counted_once_and_told(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2)
        assert custody.quarantine_at(tx, [place_of(1), NOWHERE], reason="digest differs", at=given.NOW) == 1
        assert custody.quarantine_at(tx, [place_of(1)], reason="digest differs", at=given.NOW) == 0
        told = [e.detail["reason"] for e in events.latest(tx, 9, word="custody.quarantined")]
        assert told == ["digest differs"]
        assert counts.count(tx).balance == 0


def test_what_was_given_up_is_not_quarantined_afterwards(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        custody.purge(tx, [given.instance(1)], at=given.NOW)
        assert custody.quarantine_at(tx, [place_of(1)], reason="not on disk", at=given.NOW) == 0
        assert custody.purged_among(tx, [file_of(1), file_of(2), "in/unknown"]) == {file_of(1)}


def test_many_files_are_quarantined_in_pieces(ledger):
    numbers = range(1, 602)
    with ledger.write() as tx:
        given.kept(tx, *numbers)
        assert custody.quarantine_at(tx, [place_of(n) for n in numbers], reason="gone", at=given.NOW) == 601
        assert custody.known_files(tx) == set()


def test_instances_that_share_a_file_have_each_their_own_fate(ledger):
    shared = [
        replace(given.instance(n), location=Location(file="kept/segments/s", offset=n * 4096, length=9))
        for n in (1, 2, 3)
    ]
    with ledger.write() as tx:
        for one in shared:
            arrivals.add(tx, one, calling_ae="CT1", at=given.NOW)
        custody.purge(tx, shared[:1], at=given.NOW)
        assert custody.quarantine_at(tx, [shared[1].location], reason="digest differs", at=given.NOW) == 1
        assert custody.known_files(tx) == {"kept/segments/s"}
        assert custody.claims(tx, "kept/segments/s") == {
            4096: InstanceState.PURGED,
            8192: InstanceState.QUARANTINED,
            12288: InstanceState.STUDY,
        }
        assert custody.quarantine(tx, ["kept/segments/s", "none"], reason="gone", at=given.NOW) == 1
        assert custody.known_files(tx) == set()


def test_a_study_closes_when_all_that_was_asked_and_sent_has_ended(ledger):
    settled(ledger)
    assert closed(ledger) == 1
    with ledger.read() as tx:
        assert given.study(tx).state is StudyState.CLOSED
        assert counts.count(tx).balance == 0
    assert closed(ledger) == 0


@pytest.mark.parametrize("waiting", ["a job", "a delivery", "a dead delivery"])
def test_a_study_stays_open_while_something_waits(ledger, waiting):
    if waiting == "a job":
        given.a_job(ledger)
    else:
        given.ended(ledger)
    if waiting == "a dead delivery":
        for peer in ("pacs", "archive"):
            for parcel in given.parcels(ledger, peer):
                with ledger.write() as tx:
                    deliveries.dead(tx, parcel, status=0x0122, word="courier.refused", at=given.NOW)
    assert closed(ledger) == 0


def test_only_old_closed_studies_are_purgeable_the_oldest_first(ledger):
    settled(ledger)
    assert purgeable(ledger) == []
    closed(ledger)
    assert purgeable(ledger, before=given.NOW) == []
    assert purgeable(ledger) == [given.instance(n) for n in (1, 2, 3)]
    assert purgeable(ledger, limit=2) == [given.instance(n) for n in (1, 2)]


def test_looking_for_what_may_go_does_not_walk_what_went_before(ledger):
    if ledger.dialect != "sqlite":
        pytest.skip("the plan of SQLite, which has no statistics to choose by")
    statements = []
    sa.event.listen(ledger._engine, "before_cursor_execute", lambda *a: statements.append(a[2:4]))
    with ledger.read() as tx:
        custody.purgeable(tx, before=LATER, limit=10)
        text, values = statements[-1]
        plan = [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert any("ix_instances_state (state=? AND received_at<?)" in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], plan


def test_a_study_is_not_purged_under_work_that_was_asked_for_again(ledger):
    former = settled(ledger)
    closed(ledger)
    with ledger.write() as tx:
        done = jobs.find(tx, former.id)
        assert done is not None
        jobs.again(tx, done, at=given.NOW + 5)
    assert purgeable(ledger) == []


def test_a_purge_leaves_its_rows_and_says_so(ledger):
    settled(ledger)
    closed(ledger)
    with ledger.write() as tx:
        custody.purge(tx, custody.purgeable(tx, before=LATER, limit=2), at=LATER)
        found = counts.count(tx)
        (told,) = events.latest(tx, 9, word="custody.purged")
    assert (found.kept, found.in_studies, found.purged, found.balance) == (3, 1, 2, 0)
    assert (told.study_uid, told.detail) == (given.STUDY, {"instances": 2})
