"""Arrivals: new, again, changed and restored, and the studies they open, extend and reopen."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import sqlalchemy as sa

from appliance.core.words import InstanceState, StudyState
from appliance.ledger import arrivals, counts, custody, events, studies, tables
from appliance.ledger.arrivals import Arrived, Arriving
from tests.appliance.ledger import given


def add(ledger, instance, *, at=given.NOW, calling_ae="CT1"):
    with ledger.write() as tx:
        return arrivals.add(tx, instance, calling_ae=calling_ae, at=at)


def words(ledger, study_uid=given.STUDY):
    with ledger.read() as tx:
        return [event.word for event in events.of_study(tx, study_uid)]


def test_a_first_instance_opens_its_study_and_series(ledger):
    assert add(ledger, given.instance()) is Arrived.KEPT
    with ledger.read() as tx:
        study = given.study(tx)
        (series,) = studies.series_of(tx, given.STUDY)
        assert studies.instances_of(tx, given.STUDY) == [given.instance()]
    assert study.state is StudyState.GATHERING
    assert (study.first_at, study.last_at, study.gathering_since) == (given.NOW,) * 3
    assert (series.series_uid, series.complete_at, series.facts) == (given.SERIES, None, None)
    assert words(ledger) == ["assemble.opened"]


def test_the_same_bytes_again_are_counted_and_change_nothing(ledger):
    add(ledger, given.instance())
    again = given.instance(file="in/second-copy")
    assert add(ledger, again, at=given.NOW + 50) is Arrived.DUPLICATE
    with ledger.read() as tx:
        assert given.study(tx).last_at == given.NOW
        assert studies.instances_of(tx, given.STUDY) == [given.instance()]
        found = counts.count(tx)
    assert (found.kept, found.duplicates, found.balance) == (1, 1, 0)


def test_other_bytes_under_a_known_uid_are_a_new_revision_and_the_old_row_stays(ledger):
    add(ledger, given.instance())
    changed = given.instance(content="repaired")
    assert add(ledger, changed, at=given.NOW + 5) is Arrived.CHANGED
    with ledger.read() as tx:
        assert studies.instances_of(tx, given.STUDY) == [changed]
        assert studies.count_of(tx, given.STUDY) == 1
        assert given.study(tx).last_at == given.NOW + 5
        assert counts.count(tx).kept == 2
        assert events.of_study(tx, given.STUDY)[-1].detail == {"revision": 2}
    assert words(ledger) == ["assemble.opened", "receive.changed"]


def test_the_very_file_that_is_recorded_already_is_nothing_new(ledger):
    arrived = given.instance()
    with ledger.write() as tx:
        assert arrivals.add(tx, arrived, calling_ae="CT1", at=given.NOW) is Arrived.KEPT
        assert arrivals.add(tx, arrived, calling_ae="CT1", at=given.NOW + 1) is Arrived.RECORDED
        assert (counts.count(tx).kept, counts.count(tx).duplicates) == (1, 0)


def test_the_first_bytes_may_come_back_after_a_change(ledger):
    first, second = given.instance(), given.instance(content="b")
    add(ledger, first)
    add(ledger, second)
    copy = given.instance(file="in/copy")
    assert add(ledger, copy, at=given.NOW + 9) is Arrived.CAME_BACK
    with ledger.read() as tx:
        assert studies.instances_of(tx, given.STUDY) == [first], "where they lie already"
        assert counts.count(tx).kept == 2


def test_a_copy_older_than_what_came_since_changes_nothing(ledger):
    add(ledger, given.instance(), at=given.NOW)
    second = given.instance(content="b")
    add(ledger, second, at=given.NOW + 5)
    leftover = given.instance(file="in/leftover")
    assert add(ledger, leftover, at=given.NOW + 3) is Arrived.DUPLICATE
    with ledger.read() as tx:
        assert studies.instances_of(tx, given.STUDY) == [second]


@pytest.mark.parametrize("lost", ["purged", "quarantined"])
def test_bytes_that_were_given_up_are_restored_where_they_lie_now(ledger, lost):
    first = given.instance()
    add(ledger, first)
    with ledger.write() as tx:
        if lost == "purged":
            custody.purge(tx, [first], at=given.NOW)
        else:
            assert custody.quarantine(tx, [first.location.file], reason="digest differs", at=given.NOW) == 1
        assert studies.instances_of(tx, given.STUDY) == []
    again = given.instance(file="in/again")
    assert add(ledger, again, at=given.NOW + 5) is Arrived.RESTORED
    with ledger.read() as tx:
        assert studies.instances_of(tx, given.STUDY) == [again]
        found = counts.count(tx)
    assert (found.kept, found.in_studies, found.purged, found.quarantined) == (1, 1, 0, 0)


def test_a_uid_in_two_series_is_two_instances(ledger):
    add(ledger, given.instance())
    other = given.instance(series="1.2.3.9")
    assert add(ledger, other) is Arrived.KEPT
    with ledger.read() as tx:
        assert studies.count_of(tx, given.STUDY) == 2
        assert studies.instances_of(tx, given.STUDY, "1.2.3.9") == [other]


def test_a_late_slice_makes_its_series_incomplete_and_forgets_its_facts(ledger):
    add(ledger, given.instance())
    with ledger.write() as tx:
        (series,) = studies.series_of(tx, given.STUDY)
        assert studies.complete_series(tx, series, facts={"slices": 1}, at=given.NOW + 30)
    add(ledger, given.instance(2), at=given.NOW + 40)
    with ledger.read() as tx:
        (series,) = studies.series_of(tx, given.STUDY)
    assert (series.complete_at, series.facts, series.last_at) == (None, None, given.NOW + 40)


def _bring_to(tx, state):
    if state is StudyState.HELD:
        assert studies.hold(tx, given.study(tx), reason="two patients", at=given.NOW)
        return
    if state is StudyState.READY:
        given.ready(tx)
        return
    given.decided(tx)
    if state is StudyState.CLOSED:
        assert studies.move(tx, given.STUDY, StudyState.DECIDED, StudyState.CLOSED)


@pytest.mark.parametrize("state", [s for s in StudyState if s is not StudyState.GATHERING])
def test_a_late_instance_reopens_a_study_from_every_state(ledger, state):
    with ledger.write() as tx:
        given.kept(tx, 1, 2)
        _bring_to(tx, state)
        assert given.study(tx).state is state
    assert add(ledger, given.instance(3), at=given.NOW + 100) is Arrived.KEPT
    with ledger.read() as tx:
        study = given.study(tx)
        assert counts.count(tx).balance == 0
    kept_back = "two patients" if state is StudyState.HELD else None
    assert (study.state, study.reason) == (StudyState.GATHERING, kept_back)
    assert (study.first_at, study.gathering_since, study.last_at) == (
        given.NOW,
        given.NOW + 100,
        given.NOW + 100,
    )
    assert words(ledger)[-1] == "assemble.reopened"


def test_a_duplicate_reopens_nothing(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        given.decided(tx)
    add(ledger, given.instance(), at=given.NOW + 100)
    with ledger.read() as tx:
        assert given.study(tx).state is StudyState.DECIDED


def test_no_arrival_is_a_patient_in_the_timeline(ledger):
    add(ledger, given.instance(facts={"PatientName": "Doe^Jane", "PatientID": "4711"}))
    add(ledger, given.instance(content="b", facts={"PatientName": "Doe^Jane", "PatientID": "4711"}))
    with ledger.read() as tx:
        told = repr([event.detail for event in events.latest(tx, 50)])
    assert "Doe" not in told
    assert "4711" not in told


def test_every_arrival_is_in_exactly_one_place(ledger):
    for number in range(1, 5):
        add(ledger, given.instance(number))
    with ledger.write() as tx:
        custody.quarantine(tx, [given.instance(1).location.file], reason="gone", at=given.NOW)
        custody.purge(tx, [given.instance(2)], at=given.NOW)
        found = counts.count(tx)
    assert (found.in_studies, found.quarantined, found.purged) == (2, 1, 1)
    assert found.kept == sum((found.in_studies, found.quarantined, found.purged))
    assert set(InstanceState) == {"study", "quarantined", "purged"}


def state_of(ledger):
    """Everything that arrivals change, but the order of rows."""
    with ledger.read() as tx:
        rows = [
            Counter(
                str({k: v for k, v in row._mapping.items() if k != "id"}) for row in tx.execute(sa.select(t))
            )
            for t in (tables.instances, tables.series, tables.studies)
        ]
        words = Counter(event.word for event in events.latest(tx, 1000))
    return rows, words


@pytest.mark.parametrize("seed", range(8))
def test_many_at_once_are_what_they_are_one_by_one(fresh_ledger, seed):
    draw = random.Random(seed)
    together, one_by_one = fresh_ledger(), fresh_ledger()
    at = given.NOW
    for _ in range(6):
        batch = []
        for _ in range(draw.randrange(1, 12)):
            at += draw.choice((0.0, 1.0))
            instance = given.instance(
                draw.randrange(1, 9),
                series=draw.choice(("1.2.3.1", "1.2.3.2")),
                content=draw.choice(("", "", "b")),
                file=f"in/{draw.randrange(10**12)}",
            )
            batch.append(Arriving(instance=instance, calling_ae="CT1", at=at))
        with together.write() as tx:
            told = arrivals.add_all(tx, batch)
        with one_by_one.write() as tx:
            wanted = [arrivals.add(tx, one.instance, calling_ae="CT1", at=one.at) for one in batch]
        assert told == wanted
        if draw.random() < 0.3:
            for ledger in (together, one_by_one):
                with ledger.write() as tx:
                    custody.purge(tx, [batch[0].instance], at=at)
        assert state_of(together) == state_of(one_by_one)


def test_many_new_images_go_in_with_a_few_statements(ledger):
    statements = []
    sa.event.listen(ledger._engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    batch = [Arriving(instance=given.instance(n), calling_ae="CT1", at=given.NOW + n) for n in range(200)]
    with ledger.write() as tx:
        assert set(arrivals.add_all(tx, batch)) == {Arrived.KEPT}
    assert len(statements) < 20
    assert words(ledger) == ["assemble.opened"]
    with ledger.read() as tx:
        assert given.study(tx).last_at == given.NOW + 199
