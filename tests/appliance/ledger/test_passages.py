"""Releases on their way: one of a model at a time, and the rows know what was drained and how jobs ended."""

from __future__ import annotations

import pytest

from appliance.core.limits import Limits
from appliance.core.words import JobState
from appliance.ledger import controls, events, jobs, passages, performance, results
from appliance.ledger.controls import EVERY_MODEL, Kind, NothingWaits
from tests.appliance.ledger import given

NAME, NOW = "ct-tissue-bands", given.NOW
NEW, OLD = "sha256:22", "sha256:11"
ASSIGNED, WAITS, SOAK, COMMITTED = 1, 6, 10, 11
DAY = 86_400.0


def assigned(tx, version="1.1.0", digest=NEW, *, name=NAME, at=NOW):
    return passages.assigned(tx, name=name, version=version, digest=digest, phase=ASSIGNED, at=at)


def test_another_release_of_a_model_ends_the_one_before_it(ledger):
    with ledger.write() as tx:
        first = assigned(tx)
        assert assigned(tx, at=NOW + 9) == first
        assigned(tx, "1.2.0", "sha256:33", at=NOW + 10)
        assigned(tx, "7.0.0", "sha256:77", name="other", at=NOW + 10)
        assert [p.version for p in passages.under_way(tx)] == ["1.2.0", "7.0.0"]
        ended = passages.of_digest(tx, NEW)
        assert ended is not None
        assert ended.ended_at == NOW + 10
        again = assigned(tx, at=NOW + 20)
        assert (again.phase, again.ended_at, again.assigned_at) == (ASSIGNED, None, NOW + 20)
        passages.withdrawn(tx, but={("other", "7.0.0"), (NAME, "1.2.0")}, at=NOW + 30)
        assert [p.name for p in passages.under_way(tx)] == ["other"]


def test_where_a_release_stands_changes_its_time_with_its_phase_alone(ledger):
    with ledger.write() as tx:
        assigned(tx)
        assert passages.enter(tx, NEW, WAITS, at=NOW + 1, word="waiting_window", sentence="until 22:00")
        assert not passages.enter(tx, NEW, WAITS, at=NOW + 2, word="waiting_window", sentence="until 23:00")
        (row,) = passages.under_way(tx)
        assert (row.phase_at, row.sentence) == (NOW + 1, "until 23:00")
        assert not passages.enter(tx, "sha256:99", WAITS, at=NOW)
        soaks = passages.soaks(tx, row, SOAK, at=NOW + 3)
        assert (soaks.activated_at, soaks.word) == (NOW + 3, "")
        passages.committed(tx, soaks, COMMITTED, at=NOW + 4, jobs=7)
        passages.committed(tx, soaks, COMMITTED, at=NOW + 5, jobs=7)
        (event,) = events.latest(tx, 9, word="registry.committed")
        assert event.detail["jobs"] == 7


def test_what_was_decided_before_is_waited_for_and_nothing_else(ledger):
    with ledger.write() as tx:
        row = assigned(tx)
        before = jobs.open_job(tx, given.work("a"), at=NOW)
        jobs.open_job(tx, given.work("b", model_digest=NEW), at=NOW)
        jobs.open_job(tx, given.work("c", model_name="other"), at=NOW)
        row = passages.drain(tx, row, at=NOW)
        jobs.open_job(tx, given.work("d"), at=NOW)
        assert passages.undrained(tx, row) == 1
        assert jobs.finish(tx, given.leased(tx, before), JobState.DONE, word="job.done", reason=None, at=NOW)
        assert passages.undrained(tx, row) == 0
        assert passages.stop_draining(tx, row).drain_at is None


def test_a_hold_counts_until_its_time_and_only_for_its_model(ledger):
    with ledger.write() as tx:
        controls.place(tx, Kind.HOLD, NAME, reason="why", by="jo", at=NOW, until=NOW + DAY)
        assert controls.against(tx, NAME, "1.1.0", at=NOW) is not None
        assert controls.against(tx, "other", "1.1.0", at=NOW) is None
        assert controls.against(tx, NAME, "1.1.0", at=NOW + DAY) is None
        controls.place(tx, Kind.HOLD, NAME, reason="longer", by="jo", at=NOW, until=NOW + 2 * DAY)
        assert [one.reason for one in controls.everything(tx, at=NOW)] == ["longer"]
        controls.place(tx, Kind.HOLD, EVERY_MODEL, reason="all", by="jo", at=NOW, until=NOW + DAY)
        assert controls.against(tx, "other", "1.1.0", at=NOW) is not None
        assert controls.lift(tx, NAME, by="ada", at=NOW) == 1
        assert controls.against(tx, NAME, "1.1.0", at=NOW) is not None, "all are held still"
        assert controls.lift(tx, EVERY_MODEL, by="ada", at=NOW) == 1
        assert controls.lift(tx, EVERY_MODEL, by="ada", at=NOW) == 0
        words = [event.word for event in events.latest(tx, 9)]
    assert words == ["registry.lifted"] * 2 + ["registry.held"] * 3


def test_a_pin_speaks_against_every_version_but_its_own(ledger):
    with ledger.write() as tx:
        until = NOW + DAY
        controls.place(tx, Kind.PIN, NAME, version="1.0.0", reason="why", by="jo", at=NOW, until=until)
        assert controls.against(tx, NAME, "1.0.0", at=NOW) is None
        assert controls.against(tx, NAME, "1.1.0", at=NOW) is not None
        assert controls.pinned(tx, NAME, "1.0.0", at=NOW)
        assert not controls.pinned(tx, NAME, "1.1.0", at=NOW)


def test_consent_is_to_a_package_that_is_assigned_and_is_said_once(ledger):
    with ledger.write() as tx:
        with pytest.raises(NothingWaits):
            controls.consent(tx, NAME, "1.1.0", by="Dr. A", at=NOW)
        assigned(tx)
        for by in ("Dr. A", "Dr. B"):
            controls.consent(tx, NAME, "1.1.0", by=by, at=NOW)
        given_ = controls.consent_to(tx, NEW)
        assert given_ is not None
        assert given_.given_by == "Dr. A"
        assert len(events.latest(tx, 9, word="registry.consented")) == 1
        assert controls.consent_to(tx, "sha256:33") is None


def test_how_jobs_ended_is_read_with_their_working_time_and_their_workers_deaths(ledger):
    job = given.ended(ledger, at=NOW)
    with ledger.write() as tx:
        others = [jobs.open_job(tx, given.work(content, uid=f"1.9.{content}"), at=NOW) for content in "123"]
        for number, other in enumerate(others):
            given.leased(tx, other, at=NOW, owner=f"worker:{number}")
        assert len(jobs.release_dead(tx, at=NOW + 40, limits=Limits())) == 3
        given.leased(tx, others[1], at=NOW + 41)
        assert len(jobs.release_dead(tx, at=NOW + 90, limits=Limits())) == 1
        failed = given.leased(tx, others[0], at=NOW + 50)
        assert jobs.finish(tx, failed, JobState.FAILED, word="inference.answer", reason="x", at=NOW + 50)
    with ledger.read() as tx:
        record = performance.of_model(tx, OLD, since=NOW, until=NOW + 100, jobs_max=10)
        none = performance.of_model(tx, NEW, since=NOW, until=NOW + 100, jobs_max=10)
        late = performance.of_model(tx, OLD, since=NOW + 95, until=NOW + 100, jobs_max=10)
        assert results.find_of_job(tx, job.id) is not None
    assert [(one.state, one.seconds) for one in record.ended] == [
        (JobState.DONE, 0.5),
        (JobState.FAILED, None),
    ]
    assert record.deaths == [NOW + 40, NOW + 90], "those of the one job that lost two workers"
    assert (none.ended, none.deaths) == ([], [])
    assert (late.ended, late.deaths) == ([], [])
