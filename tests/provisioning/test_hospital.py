"""What a hospital says about releases counts: windows, consent, holds; studies under way come first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.core.words import JobState
from appliance.ledger import controls, events, jobs, passages, versions
from appliance.ledger.controls import Kind
from appliance.ledger.states import VersionState
from appliance.sync import soak as soaking
from appliance.sync.floors import book_of
from appliance.sync.gates import Gates
from appliance.sync.limits import STEPS
from appliance.sync.phase import Phase
from appliance.sync.refusal import Word
from appliance.sync.soak import Watch
from provisioning.registry.promote import assignments
from provisioning.registry.publish import publish, recall
from tests.appliance import packages
from tests.appliance.ledger import given
from tests.provisioning.field import DAY, NAME, NEXT, NOW, OLDER, SERVES, Field
from tests.provisioning.test_line import with_registry

LATER = "1.3.0"
VIENNA = ZoneInfo("Europe/Vienna")
HOUR = 3600.0


def with_windows(field: Field, *windows: str) -> None:
    field.box = with_registry(field.box, windows=windows)
    site = field.box.config.site.model_copy(update={"time_zone": "Europe/Vienna"})
    field.box = replace(field.box, config=field.box.config.model_copy(update={"site": site}))


def at_hour(field: Field, hour: int) -> None:
    """Move the clock on to the next such hour of the site."""
    local = datetime.fromtimestamp(field.clock.seconds, tz=VIENNA)
    field.clock.advance(((hour - local.hour) % 24) * HOUR - local.minute * 60 - local.second)


def phase(field: Field, version: str = NEXT) -> tuple[Phase, str]:
    with field.box.ledger.read() as tx:
        found = next(p for p in passages.everything(tx) if p.version == version)
    return Phase(found.phase), found.word


def hold(field: Field, model: str = NAME, days: float = 7, **more: str) -> None:
    with field.box.ledger.write() as tx:
        at = field.clock.seconds
        kind = Kind.PIN if more else Kind.HOLD
        controls.place(tx, kind, model, reason="congress week", by="jo", at=at, until=at + days * DAY, **more)


def lifted(field: Field) -> bool:
    with field.box.ledger.read() as tx:
        return bool(Gates(config=field.box.config).lifted(tx, at=field.clock.seconds))


def test_a_release_is_built_early_and_serves_in_the_window_alone(field: Field):
    with_windows(field, "daily 22:00-05:00")
    at_hour(field, 12)
    field.offer()
    outcome = field.outcome()
    assert (outcome.word, outcome.phase) == (Word.WAITING_WINDOW, Phase.WAITING_WINDOW)
    assert "22:00" in outcome.sentence
    assert outcome.is_well
    assert field.serving() == SERVES
    with field.box.ledger.read() as tx:
        row = versions.find(tx, NAME, NEXT)
        waited = [event.detail["reason"] for event in events.latest(tx, 9, word="registry.waits")]
    assert row is not None
    assert row.state is VersionState.FETCHED
    assert row.evidence["prepared"]["golden"], "it stood its golden cases before the window"
    assert field.word() is Word.WAITING_WINDOW
    assert waited == ["waiting_window"], "said once"
    assert not lifted(field)

    at_hour(field, 22)
    assert lifted(field)
    assert field.word() is Word.ACTIVATED
    assert field.serving() == NEXT
    assert len(field.origin.fetched(".zip")) == 1


def test_a_person_at_the_box_need_not_wait_for_the_window(field: Field):
    with_windows(field, "daily 22:00-05:00")
    at_hour(field, 12)
    field.offer()
    (outcome,) = field.turn(any_time=True).outcomes
    assert outcome.word is Word.ACTIVATED


def test_the_site_is_asked_and_its_answer_is_kept_with_a_name(field: Field):
    field.box = with_registry(field.box, consent=True)
    field.offer()
    assert field.word() is Word.WAITING_CONSENT
    assert field.serving() == SERVES
    with pytest.raises(controls.NothingWaits), field.box.ledger.write() as tx:
        controls.consent(tx, NAME, LATER, by="Dr. A", at=NOW)
    with field.box.ledger.write() as tx:
        controls.consent(tx, NAME, NEXT, by="Dr. A", at=NOW)
    assert lifted(field)
    assert field.word() is Word.ACTIVATED
    with field.box.ledger.read() as tx:
        (event,) = events.latest(tx, 9, word="registry.consented")
    assert (event.detail["by"], event.detail["version"]) == ("Dr. A", NEXT)


def test_a_hold_ends_by_itself_and_a_recall_speaks_all_the_same(field: Field):
    hold(field)
    field.offer()
    outcome = field.outcome()
    assert (outcome.word, outcome.phase) == (Word.ON_HOLD, Phase.HELD)
    assert "by jo: congress week" in outcome.sentence
    assert field.origin.fetched(".zip") == [], "nothing was fetched"
    recall(field.book, NAME, SERVES, field.keys, reason="wrong threshold")
    told = {one.word: one.version for one in field.turn().outcomes}
    assert told == {Word.ON_HOLD: NEXT, Word.RECALLED: SERVES}
    field.clock.advance(6 * DAY)
    field.book.stamp_all()
    assert not lifted(field)
    field.clock.advance(1.1 * DAY)
    assert lifted(field)
    assert field.word() is Word.ACTIVATED


@pytest.mark.long
def test_a_pin_lets_its_own_version_serve_and_no_other(field: Field):
    hold(field, version=NEXT)
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.offer(LATER)
    assert field.word() is Word.ON_HOLD
    assert field.serving() == NEXT
    with field.box.ledger.write() as tx:
        assert controls.lift(tx, NAME, by="jo", at=NOW) == 1
    assert field.word() is Word.ACTIVATED


def test_studies_that_were_decided_before_are_finished_first(field: Field):
    digest = packages.shipped().digest
    with field.box.ledger.write() as tx:
        first = jobs.open_job(tx, given.work("a", model_digest=digest), at=NOW)
    field.offer()
    outcome = field.outcome()
    assert (outcome.word, outcome.phase) == (Word.DRAINING, Phase.DRAINING)
    with field.box.ledger.write() as tx:
        jobs.open_job(tx, given.work("b", model_digest=digest), at=NOW)
    assert field.word() is Word.DRAINING
    assert not lifted(field)
    with field.box.ledger.write() as tx:
        leased = given.leased(tx, first, at=NOW)
        assert jobs.finish(tx, leased, JobState.DONE, word="job.done", reason=None, at=NOW)
    assert lifted(field)
    assert field.word() is Word.ACTIVATED, "what was decided meanwhile does not keep it waiting"
    with field.box.ledger.read() as tx:
        assert jobs.of_study(tx, given.STUDY)[1].model_digest == digest, "it keeps its version"


@pytest.mark.long
def test_a_job_that_never_ends_keeps_a_release_waiting_for_so_long_and_no_longer(field: Field):
    with field.box.ledger.write() as tx:
        jobs.open_job(tx, given.work("a", model_digest=packages.shipped().digest), at=NOW)
    field.offer()
    assert field.word() is Word.DRAINING
    field.clock.advance(STEPS.drain_seconds_max + 1)
    assert lifted(field)
    assert field.word() is Word.ACTIVATED


@pytest.mark.long
def test_what_is_paused_while_it_waits_is_not_activated_and_costs_nothing(field: Field):
    with_windows(field, "daily 22:00-05:00")
    at_hour(field, 12)
    field.offer()
    assert field.word() is Word.WAITING_WINDOW
    field.promote(SERVES)
    at_hour(field, 22)
    assert field.word() is Word.CURRENT
    assert field.serving() == SERVES
    with field.box.ledger.read() as tx:
        row = versions.find(tx, NAME, NEXT)
    assert row is not None
    assert not row.here, "nobody needs it any more"


def test_the_director_is_asked_again_right_before_a_release_serves(field: Field, monkeypatch):
    field.offer()
    prove = Gates.shut

    def paused(*args, **kwargs):
        monkeypatch.setattr(Gates, "shut", prove)
        field.promote(SERVES)
        return prove(*args, **kwargs)

    monkeypatch.setattr(Gates, "shut", paused)
    field.turn()
    assert field.serving() == SERVES
    assert {one.version for one in assignments(field.book)["box-1"]} == {SERVES}


@pytest.mark.long
def test_a_newer_release_takes_the_place_of_one_that_waits_or_is_watched(field: Field):
    field.box = with_registry(field.box, consent=True)
    field.offer()
    assert field.word() is Word.WAITING_CONSENT
    field.box = with_registry(field.box, consent=False)
    field.offer(LATER)
    assert field.word() is Word.ACTIVATED
    assert field.serving() == LATER
    with field.box.ledger.read() as tx:
        open_ = [p.version for p in passages.under_way(tx)]
        ended = next(p for p in passages.everything(tx) if p.version == NEXT)
    assert open_ == [LATER]
    assert ended.ended_at is not None


def failed_jobs(field: Field, version: str, *studies: int) -> None:
    """Let jobs of a version fail, each of another study."""
    with field.box.ledger.write() as tx:
        row = versions.find(tx, NAME, version)
        assert row is not None
        for number in studies or (1, 2, 3):
            work = given.work("a", uid=f"1.2.{number}", model_digest=row.digest, model_version=version)
            job = given.leased(tx, jobs.open_job(tx, work, at=field.clock.seconds), at=field.clock.seconds)
            at = field.clock.seconds + number
            assert jobs.finish(tx, job, JobState.FAILED, word="inference.answer", reason="why", at=at)
    field.clock.advance(60)


def watch(field: Field) -> Watch:
    return Watch(box=field.box, floors=book_of(field.box.config))


def test_a_release_whose_jobs_fail_goes_back_without_the_registry_and_is_not_tried_again(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    assert phase(field)[0] is Phase.SOAK
    failed_jobs(field, NEXT, 1, 2)
    assert watch(field).look() == []
    failed_jobs(field, NEXT, 3, 4)
    asked = len(field.origin.asked)
    (back,) = watch(field).look()
    assert back.version == NEXT
    assert len(field.origin.asked) == asked, "nobody was asked"
    assert field.serving() == SERVES
    assert phase(field) == (Phase.ROLLED_BACK, "failing_jobs")
    with field.box.ledger.read() as tx:
        (event,) = events.latest(tx, 9, word="model.returned")
    assert (event.detail["instead_of"], event.detail["reason"]) == (NEXT, "failing_jobs")
    assert watch(field).look() == []

    outcome = field.outcome()
    assert (outcome.word, outcome.phase) == (Word.FAILING_JOBS, Phase.ROLLED_BACK)
    assert "4 studies in a row" in outcome.sentence
    assert field.serving() == SERVES
    assert len(field.origin.fetched(".zip")) == 1
    field.clock.advance(30 * DAY)
    assert field.serving() == SERVES
    field.clock.seconds -= 30 * DAY
    field.offer(LATER)
    assert field.word() is Word.ACTIVATED, "the next one is another matter"
    with field.box.ledger.read() as tx:
        active = versions.active(tx)[NAME]
        former = versions.of_digest(tx, active.former_digest or "")
    assert former is not None
    assert former.version == SERVES


@pytest.mark.long
def test_what_a_release_goes_back_to_is_the_last_that_stayed(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.offer(LATER)
    assert field.word() is Word.ACTIVATED
    failed_jobs(field, LATER)
    (back,) = watch(field).look()
    assert back.version == LATER
    assert field.serving() == SERVES, "the one between was never found good"


@pytest.mark.long
def test_a_way_back_that_was_cut_off_is_gone_by_the_next_look(field: Field, monkeypatch):
    field.offer()
    assert field.word() is Word.ACTIVATED
    failed_jobs(field, NEXT)
    with monkeypatch.context() as broken:
        broken.setattr(soaking.Watch, "_change", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            watch(field).look()
    assert field.serving() == NEXT
    with field.box.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE jobs SET state = 'DONE'")
    watch(field).look()
    assert field.serving() == SERVES, "what was written is done, whatever the jobs look like now"


@pytest.mark.long
def test_weeks_without_a_registry_change_nothing_that_serves(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.origin.tree = field.folder / "nowhere"
    for _ in range(4):
        field.clock.advance(7 * DAY)
        outcome = field.outcome()
        assert not outcome.is_well
        watch(field).look()
    assert field.serving() == NEXT
    assert phase(field)[0] is Phase.COMMITTED, "whether it stays is decided here"


@pytest.mark.long
def test_old_packages_go_once_a_new_one_stays_and_the_one_before_is_kept(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.clock.advance(8 * DAY)
    watch(field).look()
    field.book.stamp_all()
    field.offer(LATER)
    assert field.word() is Word.ACTIVATED
    here = _here(field)
    assert here == {SERVES, NEXT, LATER}, "nothing goes while the new one is watched"
    field.clock.advance(8 * DAY)
    watch(field).look()
    field.book.stamp_all()
    assert field.word() is Word.CURRENT
    assert _here(field) == {NEXT, LATER}


def test_a_full_disk_makes_room_by_what_nobody_needs_and_refuses_the_rest(field: Field):
    publish(field.book, packages.bands(field.folder, NEXT), field.keys)
    field.promote(NEXT)
    storage = field.box.config.storage.model_copy(update={"floor_gib": 1e6})
    field.box = replace(field.box, config=field.box.config.model_copy(update={"storage": storage}))
    field.refused(Word.NO_ROOM)
    assert phase(field)[0] is Phase.FETCHING, "it is where it was"


def _here(field: Field) -> set[str]:
    with field.box.ledger.read() as tx:
        return {row.version for row in versions.everything(tx) if row.here}


@pytest.mark.long
def test_a_release_is_watched_while_the_next_one_waits(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.box = with_registry(field.box, consent=True)
    field.offer(LATER)
    assert field.word() is Word.WAITING_CONSENT
    failed_jobs(field, NEXT)
    (back,) = watch(field).look()
    assert back.version == NEXT
    assert field.serving() == SERVES
    assert phase(field, LATER)[0] is Phase.WAITING_CONSENT


@pytest.mark.long
def test_a_release_that_was_paused_and_assigned_again_is_watched_on(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.promote(OLDER)
    assert field.word() is Word.ROLLBACK
    assert field.serving() == NEXT
    field.promote(NEXT)
    assert field.word() is Word.CURRENT
    assert phase(field)[0] is Phase.SOAK
    failed_jobs(field, NEXT)
    assert watch(field).look()


@pytest.mark.long
def test_a_release_that_waits_is_gone_when_one_that_does_not_fit_takes_its_place(field: Field):
    field.box = with_registry(field.box, consent=True)
    field.offer()
    assert field.word() is Word.WAITING_CONSENT
    field.publish(LATER, readside="99.0.0")
    field.promote(LATER)
    assert field.word() is Word.INCOMPATIBLE
    assert phase(field, LATER) == (Phase.REFUSED, "incompatible"), "what is refused at first sight has a row"
    with pytest.raises(controls.NothingWaits), field.box.ledger.write() as tx:
        controls.consent(tx, NAME, NEXT, by="Dr. A", at=NOW)
