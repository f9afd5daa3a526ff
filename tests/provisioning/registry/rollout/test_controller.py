"""The controller over real lists and a real database: dying, being two, being late, being overruled."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.disk.durable import NoSpace
from appliance.health.codes import Kind
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from provisioning.registry.database import alerts, audit, devices, rollouts
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import promote
from provisioning.registry.publish import recall
from provisioning.registry.rollout import controller as module
from provisioning.registry.rollout.decide import decide
from provisioning.registry.rollout.events import Paused, Returned
from provisioning.registry.rollout.facts import Stand
from provisioning.registry.rollout.gate import Verdict
from provisioning.registry.rollout.state import Stage
from tests.provisioning.registry.rollout.conftest import NAME, NEW, NEWER, OLD, Bench
from tests.provisioning.registry.rollout.making import DAY, HOUR, OPERATOR

BOTH_NEW, BOTH_OLD = {"a": NEW, "b": NEW}, {"a": OLD, "b": OLD}


def refuse(*_: Any, **__: Any) -> None:
    raise NoSpace("full")


def acts(bench: Bench) -> list[str]:
    with bench.database.read() as tx:
        return [act.act for act in reversed(audit.acts(tx, limit=100))]


def test_nothing_is_signed_before_the_approval_and_everything_after_it(bench: Bench):
    bench.start(approve=False)
    bench.look()
    assert bench.versions() == BOTH_OLD
    bench.start()
    bench.look()
    assert bench.versions() == BOTH_NEW
    assert acts(bench)[-1] == "rollout.assign"


def test_what_could_not_be_signed_is_signed_at_the_next_look(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    number = bench.start()
    with monkeypatch.context() as patched:
        patched.setattr(module, "promote", refuse)
        bench.look()
    assert bench.versions() == BOTH_OLD
    assert bench.rollout(number).state.slots["a"].stand is Stand.MOVING
    bench.look()
    assert bench.versions() == BOTH_NEW


def test_a_pause_between_deciding_and_signing_wins(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """A paused roll-out went on updating devices (nerves_hub_web#1742)."""
    number = bench.start()
    with monkeypatch.context() as patched:
        patched.setattr(module, "promote", refuse)
        bench.look()
    decide(bench.database, number, Paused(at=bench.clock.now(), by=OPERATOR))
    bench.look()
    assert bench.versions() == BOTH_OLD


def test_two_controllers_do_what_one_does(bench: Bench):
    bench.start()
    bench.look()
    before = bench.book.lists("director").targets().version
    bench.look()
    bench.look()
    assert bench.book.lists("director").targets().version == before
    assert acts(bench).count("rollout.assign") == 1


def test_a_look_that_shows_nothing_new_writes_nothing(bench: Bench):
    number = bench.start()
    bench.look()
    bench.look()
    with bench.database.read() as tx:
        before = len(rollouts.history(tx, number))
    bench.clock.advance(60)
    bench.look()
    with bench.database.read() as tx:
        assert len(rollouts.history(tx, number)) == before


def test_a_recall_takes_the_release_back(bench: Bench):
    number = bench.start()
    bench.look()
    recall(bench.book, NAME, NEW, bench.holders, reason="wrong threshold")
    bench.look()
    assert bench.versions() == BOTH_OLD
    assert bench.rollout(number).state.why == "recalled: wrong threshold"


def test_a_recall_of_what_was_before_leaves_nothing_assigned(bench: Bench):
    number = bench.start()
    bench.look()
    recall(bench.book, NAME, OLD, bench.holders, reason="worse still")
    decide(bench.database, number, Returned(at=bench.clock.now(), by=OPERATOR))
    bench.look()
    assert bench.versions() == {"a": None, "b": None}
    bench.look()
    assert not bench.rollout(number).state.is_open or bench.rollout(number).state.stage is Stage.BACK


def test_a_newer_roll_out_waits_until_the_older_took_back_what_it_must(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """Or the version that failed would be what the newer one goes back to."""
    first = bench.start()
    bench.look()
    second = bench.start(NEWER)
    with monkeypatch.context() as patched:
        patched.setattr(module, "promote", refuse)
        bench.look()
    assert bench.rollout(first).state.stage is Stage.SUPERSEDED
    bench.look()
    assert bench.versions() == {"a": NEWER, "b": NEWER}
    assert {slot.before for slot in bench.rollout(second).state.slots.values()} == {OLD}
    assert not bench.rollout(first).state.is_open


def test_a_slot_that_the_director_does_not_know_holds_up_nobody(bench: Bench):
    bench.slot("c", known=False)
    number = bench.start()
    bench.look()
    assert bench.versions() == BOTH_NEW
    assert bench.rollout(number).state.slots["c"].stand is Stand.PENDING


def test_who_is_silent_for_an_hour_is_offline_and_is_assigned_when_it_is_back(bench: Bench):
    bench.clock.advance(2 * HOUR)
    bench.report("a", OLD, Phase.COMMITTED)
    bench.start()
    bench.look()
    assert bench.versions() == {"a": NEW, "b": OLD}
    bench.report("b", OLD, Phase.COMMITTED)
    bench.look()
    assert bench.versions() == BOTH_NEW


def test_somebody_who_assigns_by_hand_is_respected(bench: Bench):
    number = bench.start()
    bench.look()
    promote(bench.book, NAME, NEWER, ["a"])
    bench.look()
    assert bench.versions() == {"a": NEWER, "b": NEW}
    decide(bench.database, number, Returned(at=bench.clock.now(), by=OPERATOR))
    bench.look()
    assert bench.versions() == {"a": NEWER, "b": OLD}


def test_what_ran_once_and_does_not_serve_now_is_not_committed(bench: Bench):
    bench.report("a", NEW, Phase.COMMITTED, serving=False, studies=500)
    number = bench.start()
    bench.look()
    assert bench.rollout(number).state.slots["a"].stand is Stand.MOVING


def test_the_gate_goes_back_by_itself_and_keeps_its_evidence(bench: Bench):
    number = bench.start()
    bench.look()
    for name in "ab":
        bench.report(name, NEW, Phase.ROLLED_BACK, reason=code_of(Word.FAILURE_RATIO))
    bench.look()
    one = bench.rollout(number)
    assert one.state.stage is Stage.BACK
    assert bench.versions() == BOTH_OLD
    assert one.judgement is not None
    assert one.judgement.verdict is Verdict.FAIL
    with bench.database.read() as tx:
        kept = [entry.event for entry in rollouts.history(tx, number)]
    assert [event for event in kept if event.kind == "judged"][-1].judgement == one.judgement


def test_a_gate_that_failed_or_asks_is_an_alert_until_it_is_over(bench: Bench):
    def kinds() -> list[tuple[str, str]]:
        with bench.database.read() as tx:
            return [(one.kind, one.subject) for one in alerts.listed(tx, only_open=True, limit=9)]

    number = bench.start()
    bench.look()
    assert kinds() == []
    bench.clock.advance(8 * DAY)
    bench.look()
    assert kinds() == [("rollout.held", f"rollout {number}")]
    for name in "ab":
        bench.report(name, NEW, Phase.ROLLED_BACK, reason=code_of(Word.SLOWER))
    bench.look()
    assert kinds() == [("rollout.failed", f"rollout {number}")]
    bench.start(NEWER)
    bench.look()
    assert kinds() == []


def test_devices_that_vanish_under_a_release_hold_it_unless_that_was_planned(bench: Bench):
    bench.slot("c")
    number = bench.start()
    bench.look()
    for name in "abc":
        bench.report(name, NEW, Phase.SOAK)
    bench.look()
    bench.clock.advance(2 * HOUR)
    bench.report("c", NEW, Phase.SOAK)

    def verdict() -> Verdict:
        bench.look()
        found = bench.rollout(number).judgement
        assert found is not None
        return next(one.verdict for one in found.checks if one.name == "vanished")

    assert verdict() is Verdict.NOT_ENOUGH
    with bench.database.write() as tx:
        devices.change_slot(tx, "a", offline_until=bench.clock.now() + HOUR)
    assert verdict() is Verdict.PASS


def test_what_the_version_before_did_is_kept_from_when_it_served(bench: Bench):
    """A box tells totals of what serves alone: a moment later there would be nothing to compare with."""
    number = bench.start()
    bench.look()
    for name in "ab":
        bench.report(name, OLD, Phase.COMMITTED, serving=False)
        bench.report(name, NEW, Phase.COMMITTED, studies=200, failures=0)
    bench.look()
    found = bench.rollout(number).judgement
    assert found is not None
    (check,) = [one for one in found.checks if one.name == "failures"]
    assert check.verdict is Verdict.PASS


def test_failures_are_counted_by_the_hour_where_a_total_in_fives_hides_them(bench: Bench):
    number = bench.start()
    bench.look()
    for name in "ab":
        bench.report(name, NEW, Phase.COMMITTED, studies=200, failures=0)
        for hour in range(8):
            failed = (-1, *(0 for _ in range(10)))
            bench.tell(name, Kind.WORK, NEW, hour=hour, done=20, failed=failed)
    bench.look()
    found = bench.rollout(number).judgement
    assert found is not None
    (check,) = [one for one in found.checks if one.name == "failures"]
    assert check.numbers["ratio"] == pytest.approx(16 / 400)
    assert check.verdict is Verdict.FAIL


def test_a_release_or_a_slot_that_is_not_there_is_said(bench: Bench):
    for wish, says in (
        ({"version": "9.0.0"}, "never published"),
        ({"slots": ["z"]}, "no slot z"),
        ({"version": OLD}, "assigned .* already"),
    ):
        with pytest.raises(RegistryFault, match=says):
            bench.start(**wish)
    recall(bench.book, NAME, NEW, bench.holders, reason="x")
    with pytest.raises(RegistryFault, match="recalled"):
        bench.start()
