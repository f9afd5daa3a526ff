"""The performer against a strict origin server: what it claims it ends, once, with what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr.codedict import codes

from appliance.assemble import worklist
from appliance.assemble.discontinued import REASONS
from appliance.assemble.worklist import Performer
from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.core.crash import WORKLIST_POINTS
from appliance.core.words import JobState, Outcome
from appliance.ledger import decisions, deliveries, events, fetches, jobs, priors, results, studies, workitems
from appliance.ledger.engine import Ledger
from appliance.ledger.fetches import FetchState
from appliance.ledger.performed import Why
from appliance.ledger.states import WorkitemState
from dicom_node.dicomweb.outward import WebPeer
from dicom_node.dicomweb.ups import UpsClient
from tests.appliance.ledger import given as made
from tests.worklist import Held, Origin, input_item, serving

UID = "1.9.1"
HERE = input_item(made.STUDY, ae_title="PACS")
NOW = made.NOW


def site(url: str, **worklist: Any) -> Config:
    values: dict[str, Any] = {"url": url, "items": [{"code": "CT-AI^99HOSP", "route": "bands"}]}
    peer = {"host": "127.0.0.1", "port": 104, "may": ["store", "query"]}
    return parse(
        {
            "site": {"name": "Here"},
            "storage": {"root": str(Path("/tmp/here"))},
            "peers": [
                {"name": "pacs", "ae_title": "PACS", "dicomweb": "https://pacs.example/web"} | peer,
                {"name": "archive", "ae_title": "ARCHIVE"} | peer,
            ],
            "routes": [
                {"name": "bands", "when": "true", "model": "ct-tissue-bands", "send_to": ["pacs", "archive"]}
            ],
            "worklist": values | worklist,
        }
    )


@dataclass
class Bench:
    """A performer, its origin server, and what else happens on a box, by hand."""

    ledger: Ledger
    clock: HeldClock
    origin: Origin
    url: str
    performer: Performer

    def restart(self, **worklist: Any) -> None:
        """Begin anew, as after a kill: only rows are left."""
        config = site(self.url, **worklist)
        peer = WebPeer(name="worklist", url=self.url, token_file=None, context=lambda: pytest.fail("no TLS"))
        self.performer = Performer(self.ledger, config, UpsClient(peer, requester="READSIDE"))

    def turns(self, count: int = 4, *, seconds: float = 31.0) -> None:
        for _ in range(count):
            self.performer.turn()
            self.clock.seconds += seconds

    def begin(self) -> Held:
        """One workitem that names the study is scheduled, claimed, and its study asked for."""
        held = self.origin.schedule(UID, HERE)
        assert self.performer.look()
        self.turns(2)
        assert self.row().state is WorkitemState.WORKING
        return held

    def row(self, uid: str = UID) -> workitems.Item:
        with self.ledger.read() as tx:
            found = workitems.find(tx, uid)
        assert found is not None
        return found

    def fetched(self, state: FetchState = FetchState.FETCHED, word: str = "fetch.whole") -> None:
        """The peer sent the study, or did not."""
        with self.ledger.write() as tx:
            for one in fetches.due(tx, "pacs", at=self.clock.now()):
                if state is FetchState.FETCHED:
                    made.kept(tx, 1, 2, 3, study=one.study_uid, at=self.clock.now())
                fetches.end(tx, one, state, word=word, absent=0, at=self.clock.now())

    def analysed(self, outcome: Outcome = Outcome.MEASURED, **how: Any) -> None:
        """The study was decided and its job came to an end."""
        with self.ledger.write() as tx:
            (job_id,) = made.decided(tx, at=self.clock.now())
            job = made.leased(tx, job_id, at=self.clock.now())
            ending = made.ending(job_id, outcome=outcome, **how)
            assert results.end(tx, job, ending, at=self.clock.now())

    def delivered(self, *, dead: bool = False) -> None:
        """The courier went round."""
        for peer in ("pacs", "archive"):
            for parcel in made.parcels(self.ledger, peer, at=self.clock.now()):
                with self.ledger.write() as tx:
                    if dead:
                        deliveries.dead(tx, parcel, status=0xC000, word="courier.refused", at=NOW)
                    else:
                        deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=NOW)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Origin, str]]:
    origin = Origin()
    with serving(origin) as url:
        yield origin, url


@pytest.fixture
def bench(ledger: Ledger, clock: HeldClock, served: tuple[Origin, str]) -> Bench:
    origin, url = served
    vars(origin).update({name: value for name, value in vars(Origin()).items() if name != "lock"})
    clock.seconds = NOW
    made_ = Bench(ledger, clock, origin, url, None)  # type: ignore[arg-type]
    made_.restart()
    return made_


def reason_of(held: Held) -> tuple[str, str]:
    said = Dataset.from_json(held.attributes["00741002"]["Value"][0])
    (code,) = said.ProcedureStepDiscontinuationReasonCodeSequence
    return code.CodeValue, said.ReasonForCancellation


def expected(why: Why) -> tuple[str, str]:
    return REASONS[why][0].value, REASONS[why][1]


def test_a_workitem_is_claimed_fetched_followed_and_completed(bench):
    held = bench.begin()
    bench.turns(1)
    assert held.dataset.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 0
    bench.fetched()
    bench.turns(1)
    bench.analysed()
    bench.turns(1)
    assert (bench.row().state, bench.row().told) == (WorkitemState.WORKING, "delivering")
    bench.delivered()
    bench.turns(2)

    assert held.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    (done,) = held.dataset.UnifiedProcedureStepPerformedProcedureSequence
    told = {
        (one.DICOMRetrievalSequence[0].RetrieveAETitle, ref.ReferencedSOPInstanceUID)
        for one in done.OutputInformationSequence
        for ref in one.ReferencedSOPSequence
    }
    with bench.ledger.read() as tx:
        items = {
            one.sop_instance_uid
            for r in results.of_study(tx, made.STUDY)
            for one in results.objects_of(tx, r.id)
        }
        sent = {
            (d.peer.upper(), results.find_object(tx, d.object_id))
            for d in deliveries.of_study(tx, made.STUDY)
        }
        timeline = [one.word for one in events.of_study(tx, made.STUDY)]
    assert told == {(peer, one.sop_instance_uid) for peer, one in sent if one is not None}
    assert {uid for _, uid in told} == items
    web = {
        one.WADORSRetrievalSequence[0].RetrieveURL
        for one in done.OutputInformationSequence
        if "WADORSRetrievalSequence" in one
    }
    assert web == {f"https://pacs.example/web/studies/{made.STUDY}/series/2.25.1"}
    assert done.PerformedStationNameCodeSequence[0].CodeValue == "READSIDE"
    assert [one.TextValue for one in done.PerformedProcessingParametersSequence] == [
        "ct-tissue-bands",
        "1.0.0",
    ]
    assert (bench.row().state, bench.row().word) == (WorkitemState.COMPLETED, None)
    assert [word for word in timeline if word.startswith("worklist")] == [
        "worklist.claimed",
        "worklist.completed",
    ]


def test_a_study_that_was_analysed_before_is_answered_with_that(bench):
    made.ended(bench.ledger)
    bench.delivered()
    held = bench.begin()
    bench.fetched(word="fetch.was_here")
    bench.turns(3)
    assert held.state == "COMPLETED"
    with bench.ledger.read() as tx:
        assert len(results.of_study(tx, made.STUDY)) == 1


def test_a_study_that_was_only_compared_with_is_analysed_for_itself_and_sent(bench):
    with bench.ledger.write() as tx:
        made.kept(tx, 1, 2, 3)
        study = made.ready(tx)
        decision = made.decision(study.content_digest or "", mode=priors.MODE)
        (job_id,) = decisions.record(tx, study, [decision], at=NOW) or []
        job = made.leased(tx, job_id)
        assert results.end(tx, job, made.ending(job_id, send_to={}), at=NOW)
    held = bench.begin()
    bench.fetched(word="fetch.was_here")
    bench.turns(3)
    with bench.ledger.write() as tx:
        first, second = jobs.of_study(tx, made.STUDY)
        assert (first.mode, second.mode, second.run) == (priors.MODE, "release", 2)
        job = made.leased(tx, second.id, at=bench.clock.now())
        assert results.end(tx, job, made.ending(second.id), at=bench.clock.now())
    bench.delivered()
    bench.turns(2)
    assert held.state == "COMPLETED"


def test_a_route_that_was_not_asked_about_the_study_is_asked_now(bench):
    with bench.ledger.write() as tx:
        made.kept(tx, 1, 2, 3)
        decisions.record(tx, made.ready(tx), [made.no_match("other")], at=NOW)
    asked = []

    def also(study_uid: str, route: str) -> bool:
        asked.append((study_uid, route))
        with bench.ledger.write() as tx:
            decision = made.decision(made.study(tx).content_digest or "")
            return decisions.record_also(tx, made.study(tx), decision, since=0.0, at=bench.clock.now())

    bench.performer._also = also
    held = bench.begin()
    bench.fetched(word="fetch.was_here")
    bench.turns(3)
    assert (asked, bench.row().told) == ([(made.STUDY, "bands")], "analysing")
    with bench.ledger.write() as tx:
        (job,) = jobs.of_study(tx, made.STUDY)
        leased = made.leased(tx, job.id, at=bench.clock.now())
        assert results.end(tx, leased, made.ending(job.id), at=bench.clock.now())
    bench.delivered()
    bench.turns(2)
    assert held.state == "COMPLETED"


class TestWhatIsNotClaimed:
    @pytest.mark.parametrize(
        "scheduled",
        [{"code": "MR-AI"}, {"readiness": "INCOMPLETE"}, {"readiness": "UNAVAILABLE"}],
        ids=["another code", "not whole yet", "not there yet"],
    )
    def test_what_is_not_meant_or_not_ready(self, bench, scheduled):
        held = bench.origin.schedule(UID, HERE, **scheduled)
        assert bench.performer.look()
        bench.turns()
        assert held.states == ["SCHEDULED"]

    def test_the_same_code_of_another_scheme(self, bench):
        bench.restart(items=[{"code": "CT-AI^OTHER", "route": "bands"}])
        held = bench.origin.schedule(UID, HERE)
        bench.performer.look()
        bench.turns()
        assert held.states == ["SCHEDULED"]

    def test_what_another_station_is_to_do(self, bench):
        bench.restart(items=[], station="BOX^99HOSP")
        other, own = (
            bench.origin.schedule("1.1", HERE, station="ELSE"),
            bench.origin.schedule("1.2", HERE, station="BOX"),
        )
        bench.performer.look()
        bench.turns()
        assert (other.state, own.state) == ("SCHEDULED", "IN PROGRESS")
        assert bench.row("1.2").route == ""

    def test_more_than_may_be_under_way(self, bench):
        bench.restart(at_once=2)
        every = [bench.origin.schedule(f"1.{n}", HERE) for n in range(4)]
        for _ in range(3):
            bench.performer.look()
            bench.turns()
        assert [one.state for one in every] == ["IN PROGRESS"] * 2 + ["SCHEDULED"] * 2

    def test_what_somebody_else_was_faster_to_claim(self, bench):
        held = bench.origin.schedule(UID, HERE)
        bench.performer.look()
        bench.origin.change(UID, _claim("2.25.7"))
        bench.turns()
        assert (bench.row().state, held.transaction_uid) == (WorkitemState.TAKEN, "2.25.7")
        assert held.updates == []
        # Fine, and no reason to look at it again.
        bench.performer.look()
        bench.turns()
        assert len(held.states) == 2

    def test_what_is_no_longer_there(self, bench):
        bench.origin.schedule(UID, HERE)
        bench.performer.look()
        del bench.origin.workitems[UID]
        bench.turns()
        assert bench.row().state is WorkitemState.GONE


def _claim(transaction_uid: str) -> dict[str, Any]:
    return {
        "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
        "00081195": {"vr": "UI", "Value": [transaction_uid]},
    }


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        ("inputs", "why"),
        [
            ([], Why.UNREADABLE),
            ([input_item("bad")], Why.UNREADABLE),
            ([input_item("1.2.3", ae_title="NOBODY")], Why.NO_PEER),
            ([input_item("1.2.3")], Why.NO_PEER),
            ([input_item("1.2.3", url="https://else.example/web/studies/1.2.3")], Why.NO_PEER),
            ([HERE, input_item("1.7", ae_title="NOBODY")], Why.NO_PEER),
        ],
    )
    def test_an_input_that_cannot_be_had_cancels_it(self, bench, inputs, why):
        held = bench.origin.schedule(UID, *inputs)
        bench.performer.look()
        bench.turns()
        assert held.states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
        assert reason_of(held) == expected(why)
        assert bench.row().state is WorkitemState.CANCELED

    def test_an_address_of_a_known_peer_will_do(self, bench):
        url = f"https://pacs.example/web/studies/{made.STUDY}/series/1"
        bench.origin.schedule(UID, input_item(made.STUDY, url=url))
        bench.performer.look()
        bench.turns(2)
        with bench.ledger.read() as tx:
            assert [(one.peer, one.asked_by) for one in fetches.of_study(tx, made.STUDY)] == [
                ("pacs", "the worklist")
            ]

    @pytest.mark.parametrize(
        ("word", "why"), [("fetch.not_there", Why.NOT_THERE), ("move.refused", Why.INCOMPLETE)]
    )
    def test_a_study_that_does_not_come_cancels_it(self, bench, word, why):
        held = bench.begin()
        bench.fetched(FetchState.FAILED, word)
        bench.turns(2)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(why))

    def test_a_study_that_no_route_wants_cancels_it(self, bench):
        held = bench.begin()
        bench.fetched()
        with bench.ledger.write() as tx:
            study = made.ready(tx, at=bench.clock.now())
            decisions.record(tx, study, [made.no_match("bands")], at=bench.clock.now())
        bench.turns(2)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(Why.NOT_WANTED))

    @pytest.mark.parametrize(
        ("outcome", "why"),
        [
            (Outcome.FAILED, Why.FAILED),
            (Outcome.NOT_ELIGIBLE, Why.NOT_ELIGIBLE),
            (Outcome.NOT_RUN, Why.NOT_RUN),
        ],
    )
    def test_what_is_no_answer_cancels_it_and_names_the_page_that_says_so(self, bench, outcome, why):
        held = bench.begin()
        bench.fetched()
        state = JobState.FAILED if outcome is Outcome.FAILED else JobState.DONE
        bench.analysed(outcome, state=state)
        bench.delivered()
        bench.turns(2)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(why))
        (done,) = held.dataset.UnifiedProcedureStepPerformedProcedureSequence
        assert len(done.OutputInformationSequence) == 2

    def test_a_result_that_nobody_took_is_no_answer(self, bench):
        held = bench.begin()
        bench.fetched()
        bench.analysed()
        bench.delivered(dead=True)
        bench.turns(2)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(Why.UNDELIVERED))

    def test_another_series_than_is_named_is_no_answer(self, bench):
        held = bench.origin.schedule(UID, input_item(made.STUDY, series_uid="1.2.3.99", ae_title="PACS"))
        bench.performer.look()
        bench.turns(2)
        bench.fetched()
        bench.analysed()
        bench.turns(2)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(Why.OTHER_SERIES))


class TestWhileItIsUnderWay:
    def test_a_held_study_waits_for_a_person_and_says_so(self, bench):
        held = bench.begin()
        bench.fetched()
        with bench.ledger.write() as tx:
            studies.hold(tx, made.study(tx), reason="two patients", at=bench.clock.now())
        bench.turns(3)
        (said,) = held.dataset.ProcedureStepProgressInformationSequence
        assert (held.state, said.ProcedureStepProgressDescription) == (
            "IN PROGRESS",
            "The study is held: a person has to look at it.",
        )

    def test_a_wish_to_cancel_is_granted(self, bench):
        held = bench.begin()
        held.attributes["00741002"] = {
            "vr": "SQ",
            "Value": [{"00741238": {"vr": "LT", "Value": ["not needed"]}}],
        }
        bench.turns(3)
        assert (held.state, reason_of(held)) == ("CANCELED", expected(Why.ASKED))

    @pytest.mark.parametrize("state", ["CANCELED", "COMPLETED"])
    def test_what_others_ended_is_ended(self, bench, state):
        held = bench.begin()
        held.move(state)
        bench.turns(2)
        assert (bench.row().state.value, bench.row().word) == (state, "worklist.ended_there")

    def test_a_server_that_forgot_the_claim_is_told_again(self, bench):
        held = bench.begin()
        held.move("SCHEDULED")
        bench.turns(2)
        assert (held.state, bench.row().state) == ("IN PROGRESS", WorkitemState.WORKING)

    def test_each_stage_is_told_once(self, bench):
        held = bench.begin()
        bench.turns(6)
        assert len(held.updates) == 1
        bench.fetched()
        bench.turns(6, seconds=1.0)
        assert len(held.updates) == 2

    def test_a_server_that_is_down_is_asked_again_later_and_later(self, bench):
        bench.begin()
        bench.fetched()
        bench.analysed()
        bench.delivered()
        bench.origin.before = lambda method, path: 503
        bench.turns(1)
        before = len(bench.origin.asked)
        bench.turns(50, seconds=12.0)
        assert len(bench.origin.asked) - before < 10
        assert (bench.row().state, bench.row().word) == (WorkitemState.COMPLETING, "worklist.busy")
        bench.origin.before = lambda method, path: None
        bench.clock.seconds += 900
        bench.turns(1)
        assert bench.row().state is WorkitemState.COMPLETED

    def test_an_address_at_which_nothing_is_left_lets_go_of_nothing(self, bench):
        held = bench.begin()
        bench.origin.before = lambda method, path: 404
        bench.turns(3)
        assert (bench.row().state, bench.row().word) == (WorkitemState.WORKING, "worklist.not_found")
        bench.origin.before = lambda method, path: None
        bench.fetched(FetchState.FAILED, "fetch.not_there")
        bench.turns(3, seconds=901.0)
        assert held.state == "CANCELED"

    @pytest.mark.parametrize("status", [404, 410])
    def test_a_workitem_that_was_deleted_is_let_go(self, bench, status):
        bench.begin()
        bench.origin.before = lambda method, path: status if UID in path else None
        bench.turns(2)
        assert bench.row().state is WorkitemState.GONE

    def test_a_transaction_uid_that_is_ours_no_more_ends_it_here(self, bench):
        held = bench.begin()
        bench.fetched()
        bench.analysed()
        bench.delivered()
        held.transaction_uid = "2.25.7"
        bench.turns(2)
        assert (bench.row().state, bench.row().word) == (WorkitemState.TAKEN, "worklist.not_ours")
        assert held.state == "IN PROGRESS"


def test_a_worklist_that_does_not_answer_is_told_and_asked_again(bench):
    def last() -> tuple[str | None, float | None]:
        with bench.ledger.read() as tx:
            look = workitems.look_of(tx, bench.url)
        assert look is not None
        return look.word, look.answered_at

    bench.origin.before = lambda method, path: 401
    assert not bench.performer.look()
    assert last() == ("worklist.unauthorised", None)
    bench.origin.before = lambda method, path: None
    assert bench.performer.look()
    assert last() == (None, NOW)


def test_nothing_about_the_patient_stays(bench, capsys):
    held = bench.begin()
    bench.fetched()
    bench.analysed()
    bench.delivered()
    bench.turns(2)
    assert held.state == "COMPLETED"
    assert "SECRET" not in json.dumps(held.updates)
    with bench.ledger.read() as tx:
        kept = [bench.row(), *events.latest(tx, 50), *workitems.inputs_of(tx, bench.row())]
    said = capsys.readouterr()
    assert "SECRET" not in repr(kept) + said.out + said.err


def test_every_reason_has_a_code_of_the_context_group_and_words():
    assert set(REASONS) == set(Why)
    allowed = {getattr(codes.DCM, name).value for name in cid_concepts[9300]["DCM"]}
    assert {code.value for code, _ in REASONS.values()} <= allowed


class Killed(BaseException):
    """The process is gone."""


class TestKills:
    """A kill is an exception that nothing catches, between two acts; then a new performer begins."""

    @pytest.mark.parametrize("point", WORKLIST_POINTS["conductor"])
    @pytest.mark.parametrize("ending", ["completed", "canceled"])
    def test_wherever_it_is_killed_it_ends_once(self, bench, monkeypatch, point, ending):
        armed = [point]

        def crash(name: str) -> None:
            if [name] == armed:
                armed.clear()
                raise Killed

        monkeypatch.setattr(worklist, "crash_here", crash)
        held = bench.origin.schedule(UID, HERE)
        self._survive(bench, bench.performer.look)
        for _ in range(3):
            self._survive(bench, bench.turns)
        bench.fetched()
        bench.analysed(Outcome.MEASURED if ending == "completed" else Outcome.FAILED)
        bench.delivered()
        for _ in range(3):
            self._survive(bench, bench.performer.look)
            self._survive(bench, bench.turns)
        assert armed == [], "the place was not passed"
        assert held.states == ["SCHEDULED", "IN PROGRESS", ending.upper()]
        assert bench.row().state.value == ending.upper()
        with bench.ledger.read() as tx:
            assert len(fetches.of_study(tx, made.STUDY)) == 1
            assert len(results.of_study(tx, made.STUDY)) == 1

    @staticmethod
    def _survive(bench: Bench, act: Callable[[], Any]) -> None:
        try:
            act()
        except Killed:
            bench.clock.seconds += 1
            bench.restart()

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        faults=st.lists(st.sampled_from([None, "lost", "down", "kill", "stranger"]), min_size=4, max_size=24)
    )
    def test_whatever_becomes_of_requests_and_answers_it_ends_once(self, bench, monkeypatch, faults):
        bench.clock.seconds += 1_000_000
        uid = f"1.9.{int(bench.clock.seconds)}"
        study = f"1.3.{int(bench.clock.seconds)}"
        left = list(faults)

        def before(method: str, path: str) -> int | None:
            told = {"down": 503, "stranger": 401}.get(str(left[-1])) if left else None
            if told:
                left.pop()
            return told

        def after(method: str, path: str) -> int | None:
            fault = left.pop() if left else None
            return 500 if fault == "lost" else None

        def crash(name: str) -> None:
            if left and left[-1] == "kill":
                left.pop()
                raise Killed

        monkeypatch.setattr(worklist, "crash_here", crash)
        held = bench.origin.schedule(uid, input_item(study, ae_title="PACS"))
        bench.origin.before, bench.origin.after = before, after
        for _ in range(60):
            self._survive(bench, bench.performer.look)
            self._survive(bench, bench.turns)
            bench.clock.seconds += 900
            bench.fetched(FetchState.FAILED, "fetch.not_there")
            if held.state == "CANCELED" and not left:
                break
        self._survive(bench, bench.turns)
        assert held.states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
        assert bench.row(uid).state is WorkitemState.CANCELED
        assert reason_of(held) == expected(Why.NOT_THERE)
