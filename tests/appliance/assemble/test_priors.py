"""Earlier studies to compare with: whom peers are asked about, what is chosen, what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from appliance.assemble import compare as compare_module
from appliance.assemble import decide as decide_module
from appliance.assemble import priors as priors_module
from appliance.assemble.compare import Comparer
from appliance.assemble.decide import Decider
from appliance.assemble.priors import Question, Rule, Seeker
from appliance.core.clock import as_datetime
from appliance.core.config import Priors
from appliance.core.crash import PRIOR_POINTS
from appliance.core.limits import DEFAULT
from appliance.core.words import JobState, Outcome, Verdict
from appliance.ledger import comparable, counts, decisions, fetches, jobs, priors, results
from appliance.ledger.engine import Ledger
from appliance.ledger.fetches import FetchState
from appliance.ledger.priors import Ask, Prior, PriorState
from appliance.ledger.results import Ending, Result, ResultObject
from appliance.routes.expression import compile_study_condition
from appliance.spool.store import Spool
from dicom_node.earlier import EarlierStudy
from tests.appliance import making
from tests.appliance.assemble.test_assemble import STUDY, Bench, any_geometry, route, table  # noqa: F401

pytestmark = pytest.mark.usefixtures("any_geometry")
TODAY = date(2023, 11, 14)
SECRET = "QVXZ-77"
OLD, OLDER, OTHER = "1.2.3.9.1", "1.2.3.9.2", "1.2.3.9.3"
RULE = Priors(count=1, wait_seconds=300)


@dataclass
class Peers:
    """Peers that have what they are told to; None where one does not answer."""

    there: dict[str, list[EarlierStudy] | None]
    asked: list[Question] = field(default_factory=list)

    def ask(self, names: Sequence[str], question: Question) -> Mapping[str, Sequence[EarlierStudy]]:
        self.asked.append(question)
        return {name: found for name in names if (found := self.there.get(name)) is not None}


def there(
    uid: str, day: date | str = "20230301", *, time: str = "", issuer: str = "", **said: Any
) -> EarlierStudy:
    day = day if isinstance(day, date) else date(int(day[:4]), int(day[4:6]), int(day[6:]))
    return EarlierStudy(study_uid=uid, day=day, time=time, issuer=issuer, said=said)


class Site:
    """A box with one route that asks for earlier studies, and peers on a table."""

    def __init__(self, bench: Bench, peers: Peers, rule: Priors = RULE, *, when: str = "") -> None:
        self.bench, self.ledger, self.peers = bench, bench.ledger, peers
        condition = compile_study_condition(when) if when else None
        self.rule = Rule(priors=rule, when=condition, peers=list(peers.there))
        self.seeker = Seeker(bench.ledger, bench.spool, {"bands": self.rule}, peers.ask)
        self.comparer = Comparer(bench.ledger, bench.spool, self.renew)
        with_rule = route("bands", 'Modality == "CT"')
        self.routes = [
            replace(with_rule, route=with_rule.route.model_copy(update={"priors": rule})),
            route("others", 'Modality == "CT"'),
        ]

    def arrive(self, study: str = STUDY, **changes: Any) -> None:
        given = {"PatientID": SECRET, "StudyDate": f"{TODAY:%Y%m%d}", "StudyTime": "1200"} | changes
        self.bench.arrive(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", **given)

    def decided(self, study: str = STUDY) -> dict[str, decisions.Decision]:
        """Let everything fall quiet and be decided; return what was decided on a study, by route."""
        self.bench.clock.advance(60)
        self.bench.gatherer.turn()
        Decider(self.ledger, table(self.routes)).turn()
        with self.ledger.read() as tx:
            return {decision.route: decision for decision in decisions.of_study(tx, study)}

    def job(self, study: str = STUDY, name: str = "bands") -> jobs.Job:
        with self.ledger.read() as tx:
            return next(job for job in reversed(jobs.of_study(tx, study)) if job.route == name)

    def wait(self) -> tuple[Ask, list[Prior]]:
        with self.ledger.read() as tx:
            ask = priors.of_job(tx, self.job().id)
            assert ask is not None
            return ask, priors.of_ask(tx, ask.id)

    def sought(self, **changes: Any) -> tuple[Ask, list[Prior]]:
        """Let the study of today arrive, be decided and asked about."""
        self.arrive(**changes)
        self.decided()
        self.seeker.turn()
        return self.wait()

    def fetched(self, study: str = OLD, state: FetchState = FetchState.FETCHED) -> None:
        with self.ledger.write() as tx:
            for row in fetches.of_study(tx, study):
                fetches.end(tx, row, state, word="fetch.whole", absent=0, at=self.bench.clock.now())

    def analysed(self, study: str = OLD, outcome: Outcome = Outcome.MEASURED, **identity: Any) -> None:
        """End the job of a study with a report, whose header is made of its images' identity."""
        whose = {"PatientID": SECRET, "StudyDate": "20230301", "StudyInstanceUID": study} | identity
        header = making.arrival(**whose)
        spool = Spool(self.bench.spool.root, "results")
        job = self.job(study)
        with self.ledger.write() as tx:
            leased = jobs.lease(tx, job.id, owner="w:1", at=self.bench.clock.now(), seconds=30)
            assert leased is not None
            location = making.kept(spool, header, at=self.bench.clock.now())
            made = ResultObject(
                output="sr", sop_class_uid="1.2", sop_instance_uid=f"{study}.9.{job.id}",
                series_uid=f"{study}.9", transfer_syntax_uid=making.EXPLICIT_LE, series_description="",
                modality="SR", digest="sha256:0", location=location,
            )  # fmt: skip
            result = Result(
                outcome=outcome, statement="", engine="cpu", stepped_down=None, evidence_digest="sha256:1",
                evidence=[], measurements=[], seconds={},
            )  # fmt: skip
            ending = Ending(
                state=JobState.DONE, word="job.done", reason=None, result=result, objects=[made], send_to={}
            )
            assert results.end(tx, leased, ending, at=self.bench.clock.now())

    def renew(self, study: str, route: str, since: float) -> bool:
        return Decider(self.ledger, table(self.routes)).to_compare(study, route, since=since)

    def compared(self) -> tuple[Ask, list[Prior]]:
        self.comparer.turn()
        return self.wait()


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path, clock) -> Bench:
    return Bench(ledger, tmp_path / "root", clock)


def test_today_is_the_day_of_the_clock(bench):
    assert as_datetime(bench.clock.now()).date() == TODAY


class TestWhomPeersAreAskedAbout:
    """The patient of the images, whom nothing but the question names."""

    def test_the_patient_the_days_and_the_modality(self, bench: Bench):
        site = Site(bench, Peers({"pacs": []}))
        with structlog.testing.capture_logs() as logs:
            ask, chosen = site.sought(IssuerOfPatientID="WEST")
        (question,) = site.peers.asked
        assert (question.patient.patient_id, question.patient.issuer) == (SECRET, "WEST")
        assert (question.first, question.last) == (TODAY - timedelta(days=1095), TODAY)
        assert question.modality == "CT"
        assert (ask.word, ask.found, chosen) == ("priors.none", 0, [])
        assert site.job().not_before <= bench.clock.now()
        assert SECRET not in repr(logs) + repr(question) + repr(ask)
        with bench.ledger.read() as tx:
            for name in ("prior_asks", "priors", "fetches", "events", "decisions", "jobs"):
                assert SECRET not in repr(tx.exec_driver_sql(f"SELECT * FROM {name}").all())

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"PatientID": ""}, "priors.no_patient_id"),
            ({"PatientID": "   "}, "priors.no_patient_id"),
            ({"PatientID": "A*"}, "priors.odd_patient_id"),
            ({"PatientID": ["A", "B"]}, "priors.no_patient_id"),
            ({"StudyDate": ""}, "priors.no_date"),
            ({"StudyDate": "2023111"}, "priors.no_date"),
        ],
    )
    def test_who_cannot_be_asked_about_is_not(self, bench: Bench, changes, word):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        ask, chosen = site.sought(**changes)
        assert (site.peers.asked, ask.word, chosen) == ([], word, [])
        assert site.job().not_before <= bench.clock.now()

    def test_a_route_that_asks_for_nothing_does_not_wait(self, bench: Bench):
        site = Site(bench, Peers({"pacs": []}))
        site.sought()
        assert site.job(name="others").not_before <= bench.clock.now()
        with bench.ledger.read() as tx:
            assert priors.of_job(tx, site.job(name="others").id) is None

    def test_a_study_that_the_model_does_not_take_does_not_wait(self, bench: Bench, monkeypatch):
        monkeypatch.setattr(decide_module, "check_geometry", lambda *_: ["too thick"])
        site = Site(bench, Peers({"pacs": []}))
        site.arrive()
        assert site.decided()["bands"].verdict is Verdict.NOT_ELIGIBLE
        with bench.ledger.read() as tx:
            assert priors.of_job(tx, site.job().id) is None


class TestWhatIsChosen:
    """The newest that fit, earlier than the study at hand."""

    def test_the_newest_and_only_as_many_as_are_wanted(self, bench: Bench):
        peers = Peers({"pacs": [there(OLDER, "20220301"), there(OLD, "20230301"), there(OTHER, "20210301")]})
        ask, chosen = Site(bench, peers, RULE.model_copy(update={"count": 2})).sought()
        assert [(one.study_uid, one.peer, one.only) for one in chosen] == [
            (OLD, "pacs", True),
            (OLDER, "pacs", True),
        ]
        assert (ask.found, ask.fitting, ask.silent, ask.ended_at) == (3, 3, 0, None)
        with bench.ledger.read() as tx:
            assert [row.asked_by for row in fetches.of_study(tx, OLD)] == [fetches.TO_COMPARE]

    @pytest.mark.parametrize(
        "study",
        [
            there(STUDY, TODAY - timedelta(days=9)),
            there(OLD, TODAY + timedelta(days=1)),
            there(OLD, TODAY, time="120000"),
            there(OLD, TODAY, time="130000"),
            there(OLD, TODAY),
        ],
    )
    def test_neither_the_study_itself_nor_what_is_not_surely_earlier(self, bench: Bench, study):
        ask, chosen = Site(bench, Peers({"pacs": [study]})).sought()
        assert (ask.word, chosen) == ("priors.none", [])

    def test_one_of_the_same_day_that_was_made_before(self, bench: Bench):
        _, (one,) = Site(bench, Peers({"pacs": [there(OLD, TODAY, time="080000")]})).sought()
        # It may be on its way by itself: then its result is sent like any.
        assert (one.study_uid, one.peer, one.only) == (OLD, "pacs", False)

    def test_what_the_route_says_of_them(self, bench: Bench):
        have = [there(OLD, StudyDescription="CT FOOT"), there(OLDER, "20220301", StudyDescription="CT HEAD")]
        when = 'StudyDescription.contains("HEAD") && days_before > 100'
        ask, (one,) = Site(bench, Peers({"pacs": have}), when=when).sought()
        assert (one.study_uid, ask.found, ask.fitting) == (OLDER, 2, 1)

    def test_each_from_the_first_peer_that_has_it(self, bench: Bench):
        peers = Peers({"pacs": [there(OLDER, "20220301")], "vna": [there(OLDER, "20220301"), there(OLD)]})
        _, chosen = Site(bench, peers, RULE.model_copy(update={"count": 2})).sought()
        assert [(one.study_uid, one.peer) for one in chosen] == [(OLD, "vna"), (OLDER, "pacs")]

    def test_a_peer_that_does_not_answer_is_counted(self, bench: Bench):
        ask, chosen = Site(bench, Peers({"pacs": None, "vna": [there(OLD)]})).sought()
        assert (ask.silent, [one.peer for one in chosen]) == (1, ["vna"])

    def test_studies_of_several_issuers_are_nobodys_where_the_own_issuer_is_not_known(self, bench: Bench):
        have = [there(OLD, issuer="WEST"), there(OLDER, issuer="EAST")]
        ask, chosen = Site(bench, Peers({"pacs": have})).sought()
        assert (ask.word, chosen) == ("priors.several_issuers", [])

    def test_when_nobody_answers_they_are_asked_again_and_the_job_goes_on_in_time(self, bench: Bench):
        site = Site(bench, Peers({"pacs": None}))
        ask, _ = site.sought()
        assert (ask.word, ask.silent, ask.ended_at) == ("priors.no_answer", 1, None)
        assert site.seeker.turn() == 0
        assert len(site.peers.asked) == 1
        bench.clock.advance(DEFAULT.priors_ask_again_seconds)
        site.peers.there["pacs"] = [there(OLD)]
        assert site.seeker.turn() == 1
        assert site.job().not_before == ask.until_at

    def test_newer_images_end_the_wait_of_the_older_job(self, bench: Bench):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        site.arrive()
        site.decided()
        first = site.job()
        site.arrive()
        site.decided()
        site.seeker.turn()
        with bench.ledger.read() as tx:
            ended, waits = priors.of_job(tx, first.id), priors.of_job(tx, site.job().id)
        assert ended is not None
        assert waits is not None
        assert (ended.word, waits.ended_at) == ("priors.not_wanted", None)


class TestWhatNobodyForesaw:
    """It ends the wait of one job, in words without data, and nothing else."""

    def test_in_asking(self, bench: Bench):
        site = Site(bench, Peers({"pacs": []}))

        def fail(_names, question):
            raise ValueError(question.patient.patient_id)

        site.seeker = Seeker(bench.ledger, bench.spool, {"bands": site.rule}, fail)
        with structlog.testing.capture_logs() as logs:
            ask, _ = site.sought()
        assert (ask.word, [one["event"] for one in logs][-1]) == ("priors.fault", "priors.fault")
        assert SECRET not in repr(logs)
        assert site.job().not_before <= bench.clock.now()

    def test_in_comparing(self, bench: Bench, monkeypatch):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        site.sought()
        monkeypatch.setattr(comparable, "standing", lambda *_: 1 / 0)
        ask, (one,) = site.compared()
        assert (ask.word, one.state, one.word) == ("priors.fault", PriorState.LACKING, "priors.fault")


class TestWhatItComesTo:
    """Used, or lacking with a word; and the job goes on as soon as that is known."""

    def site(self, bench: Bench, rule: Priors = RULE) -> Site:
        site = Site(bench, Peers({"pacs": [there(OLD)]}), rule)
        site.sought()
        return site

    def arrived(self, site: Site, **changes: Any) -> dict[str, decisions.Decision]:
        site.arrive(OLD, **{"StudyDate": "20230301"} | changes)
        site.fetched()
        return site.decided(OLD)

    def test_it_is_fetched_analysed_by_the_same_route_for_nobody_else_and_used(self, bench: Bench):
        site = self.site(bench)
        assert site.compared()[0].ended_at is None
        made = self.arrived(site)
        assert (made["bands"].verdict, made["others"].verdict) == (Verdict.RUN, Verdict.NO_MATCH)
        assert "only" not in made["bands"].reason
        assert "compared with a later one" in made["others"].reason
        assert (site.job(OLD).mode, site.job(OLD).priority) == (priors.MODE, site.job().priority + 1)
        with bench.ledger.read() as tx:
            assert priors.of_job(tx, site.job(OLD).id) is None
        assert site.compared()[0].ended_at is None
        site.analysed()
        ask, (one,) = site.compared()
        assert (one.state, one.word, ask.word) == (PriorState.USED, None, priors.DONE)
        with bench.ledger.read() as tx:
            (result,) = results.of_study(tx, OLD)
        assert one.result_id == result.id
        assert site.job().not_before <= bench.clock.now()

    def test_its_result_is_sent_where_the_route_says_so(self, bench: Bench):
        site = self.site(bench, RULE.model_copy(update={"send": True}))
        self.arrived(site)
        assert site.job(OLD).mode == "release"

    def test_one_that_was_analysed_here_before_is_not_fetched(self, bench: Bench):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        site.arrive(OLD, StudyDate="20230301")
        site.decided(OLD)
        with bench.ledger.write() as tx:
            priors.close(tx, site.job(OLD).id, at=bench.clock.now())
        site.analysed()
        _, (one,) = site.sought()
        assert (one.peer, one.only) == (None, False)
        ask, (one,) = site.compared()
        assert (one.state, ask.word) == (PriorState.USED, priors.DONE)
        assert site.job(OLD).mode == "release"
        with bench.ledger.read() as tx:
            assert fetches.of_study(tx, OLD) == []

    @pytest.mark.parametrize(
        ("identity", "word"),
        [
            ({"PatientID": "QVXZ-78"}, "prior.other_patient"),
            ({"IssuerOfPatientID": "EAST"}, "prior.other_patient"),
            ({"PatientBirthDate": "19130424"}, "prior.other_patient"),
            ({"PatientSex": "M"}, "prior.other_patient"),
            ({"StudyDate": "20231115"}, "prior.not_earlier"),
            ({"StudyDate": ""}, "prior.not_earlier"),
        ],
    )
    def test_what_the_bytes_contradict_is_not_used(self, bench: Bench, identity, word):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        site.sought(PatientBirthDate="19130423", PatientSex="F")
        self.arrived(site)
        site.analysed(**identity)
        ask, (one,) = site.compared()
        assert (one.state, one.word, ask.word) == (PriorState.LACKING, word, priors.DONE)

    def test_one_that_was_judged_before_the_route_was_there_is_analysed_to_compare_with(self, bench: Bench):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        with_it, site.routes = site.routes, site.routes[1:]
        site.arrive(OLD, StudyDate="20230301")
        assert set(site.decided(OLD)) == {"others"}
        site.routes = with_it
        site.sought()
        assert site.compared()[0].ended_at is None
        assert (site.job(OLD).mode, site.job(OLD).state) == (priors.MODE, JobState.WAITING)
        with bench.ledger.read() as tx:
            verdicts = {one.route: one.verdict for one in decisions.of_study(tx, OLD)}
            assert verdicts == {"others": Verdict.RUN, "bands": Verdict.RUN}
            assert counts.count(tx).balance == 0
        site.analysed()
        assert site.compared()[1][0].state is PriorState.USED

    def test_one_that_was_fetched_for_another_route_is_analysed_by_this_one_too(self, bench: Bench):
        site = self.site(bench)
        self.arrived(site)
        site.analysed()
        site.compared()
        with bench.ledger.read() as tx:
            mine = jobs.of_study(tx, OLD)[-1]
        stands = comparable.standing
        with bench.ledger.read() as tx:
            (prior,) = site.wait()[1]
            here = replace(prior, peer=None)
            assert stands(tx, here, replace(mine, route="others")).lacking == "prior.not_judged"
        assert site.renew(OLD, "others", bench.clock.now())
        with bench.ledger.read() as tx:
            made = {one.route: one for one in decisions.of_study(tx, OLD)}
            assert made["others"].verdict is Verdict.RUN
            assert made["others"].job_id == site.job(OLD, "others").id
            assert counts.count(tx).balance == 0
        assert site.job(OLD, "others").mode == priors.MODE

    def test_one_whose_result_went_after_its_time_is_analysed_once_more(self, bench: Bench):
        site = Site(bench, Peers({"pacs": [there(OLD)]}))
        site.arrive(OLD, StudyDate="20230301")
        site.decided(OLD)
        with bench.ledger.write() as tx:
            priors.close(tx, site.job(OLD).id, at=bench.clock.now())
        site.analysed()
        with bench.ledger.write() as tx:
            tx.exec_driver_sql("UPDATE objects SET purged_at = 1")
        bench.clock.advance(1)
        former = site.job(OLD)
        site.sought()
        assert site.compared()[0].ended_at is None
        assert (site.job(OLD).run, site.job(OLD).mode) == (2, priors.MODE)
        assert site.compared()[0].ended_at is None
        assert site.job(OLD).run == 2
        site.analysed()
        ask, (one,) = site.compared()
        assert (one.state, ask.word) == (PriorState.USED, priors.DONE)
        assert site.job(OLD).id > former.id

    def test_one_whose_result_went_is_not_analysed_again_and_again(self, bench: Bench):
        site = self.site(bench)
        self.arrived(site)
        bench.clock.advance(1)
        site.analysed()
        with bench.ledger.write() as tx:
            tx.exec_driver_sql("UPDATE objects SET purged_at = 1")
        _, (one,) = site.compared()
        assert (one.word, site.job(OLD).run) == ("prior.no_report", 1)

    def test_a_fetch_that_failed_is_a_word(self, bench: Bench):
        site = self.site(bench)
        site.fetched(state=FetchState.FAILED)
        _, (one,) = site.compared()
        assert one.word == "prior.not_fetched"

    def test_one_that_the_route_does_not_want_is_a_word(self, bench: Bench):
        site = self.site(bench)
        self.arrived(site, Modality="MR")
        _, (one,) = site.compared()
        assert one.word == "prior.no_match"

    def test_a_notice_is_nothing_to_compare_with(self, bench: Bench):
        site = self.site(bench)
        self.arrived(site)
        site.analysed(outcome=Outcome.FAILED)
        _, (one,) = site.compared()
        assert one.word == "prior.no_answer"

    def test_what_comes_too_late_changes_nothing(self, bench: Bench):
        site = self.site(bench)
        self.arrived(site)
        bench.clock.advance(300)
        ask, (one,) = site.compared()
        assert (ask.word, one.state, one.word) == (priors.LATE, PriorState.LACKING, priors.LATE)
        site.analysed()
        assert site.compared()[1] == [one]

    def test_a_study_that_came_by_itself_meanwhile_is_judged_by_every_route(self, bench: Bench):
        site = self.site(bench)
        site.fetched()
        bench.clock.advance(5)
        site.arrive(OLD, StudyDate="20230301")
        made = site.decided(OLD)
        assert {name: one.verdict for name, one in made.items()} == {
            "bands": Verdict.RUN,
            "others": Verdict.RUN,
        }
        assert site.job(OLD).mode == "release"


class Killed(BaseException):
    """A process that died in mid-act."""


@pytest.mark.parametrize("point", PRIOR_POINTS["conductor"])
def test_a_kill_at_any_point_of_the_way_changes_nothing(bench: Bench, monkeypatch, point: str):
    def die(name: str) -> None:
        if name == point:
            raise Killed

    def turns(crash: Callable[[str], None]) -> int:
        """Take a turn of everything; return how often a process died."""
        died = 0
        for module in (compare_module, priors_module):
            monkeypatch.setattr(module, "crash_here", crash)
        for turn in (site.seeker.turn, site.comparer.turn):
            try:
                turn()
            except Killed:
                died += 1
        return died

    def live(_name: str) -> None:
        pass

    site = Site(bench, Peers({"pacs": [there(OLD)]}))
    site.arrive()
    site.decided()
    died = turns(die)
    turns(live)
    with bench.ledger.read() as tx:
        assert len(fetches.of_study(tx, OLD)) == 1
    site.arrive(OLD, StudyDate="20230301")
    site.fetched()
    site.decided(OLD)
    site.analysed()
    died += turns(die)
    turns(live)
    assert died == 1
    ask, (one,) = site.wait()
    assert (ask.word, one.state) == (priors.DONE, PriorState.USED)
    assert site.job().not_before <= bench.clock.now()
