"""Ask peers for a patient's earlier studies, for jobs that wait for them, and choose which to compare with.

Promises: every wait gets an answer or a word why there is none; what is chosen is earlier, of the same
patient as far as a peer can say, and fits the route. Who the patient is is read from the images when peers
are asked, and is nowhere else.
Never: fetches, or talks to the network itself; `appliance.assemble.fetch` fetches what rows ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from appliance.assemble.spare import spared_ask
from appliance.assemble.turns import one_by_one
from appliance.assemble.whose import Whose, whose_images
from appliance.core import log
from appliance.core.clock import as_datetime
from appliance.core.config import Priors
from appliance.core.crash import crash_here
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import JobState, short
from appliance.ledger import comparable, jobs, priors, studies
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.jobs import Job
from appliance.ledger.priors import Answer, Ask, Choice
from appliance.routes.expression import Condition
from appliance.spool.store import Spool
from dicom_node.earlier import EarlierStudy, Patient

_log = log.get("assemble")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What peers are asked: the studies of a patient of one modality between two days, both included."""

    patient: Patient = field(repr=False)
    first: date
    last: date
    modality: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a route wants.

    Attributes:
        when: what a study has to be like; None: any will do.
        peers: who is asked, in the order in which they are fetched from.
    """

    priors: Priors
    when: Condition | None
    peers: Sequence[str]


# Peer names and a question -> what each of them that answered has.
AskPeers = Callable[[Sequence[str], Question], Mapping[str, Sequence[EarlierStudy]]]
_Found = Sequence[tuple[str, EarlierStudy]]


class Seeker:
    """Looks after the jobs for which no peer has answered yet."""

    def __init__(
        self, ledger: Ledger, spool: Spool, rules: Mapping[str, Rule], ask: AskPeers, limits: Limits = DEFAULT
    ) -> None:
        self._ledger, self._spool, self._rules, self._limits = ledger, spool, rules, limits
        self._ask = ask

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Ask for what is due, one job after the other; return for how many studies were chosen."""
        with self._ledger.read() as tx:
            due = priors.unanswered(tx, at=self._ledger.clock.now())
        return one_by_one(due, self._spared, stopping)

    def _spared(self, ask: Ask) -> bool:
        return spared_ask(self._ledger, ask, lambda: self._look_after(ask))

    def _look_after(self, ask: Ask) -> bool:
        rule = self._rules.get(ask.route)
        with self._ledger.read() as tx:
            job = jobs.find(tx, ask.job_id)
            images = jobs.inputs_of(tx, ask.job_id)
            overtaken = job is None or job.state is not JobState.WAITING or jobs.newer_exists(tx, job)
        if rule is None or job is None or overtaken:
            return self._end(ask, "priors.not_wanted")
        whose = whose_images(images[len(images) // 2], self._spool)
        if (word := _cannot_be_asked(whose)) is not None:
            return self._end(ask, word)
        assert whose.day is not None, "a study without a date is not asked for"
        question = Question(
            patient=whose.patient,
            first=whose.day - timedelta(days=rule.priors.within_days),
            last=whose.day,
            modality=whose.modality,
        )
        answers = self._ask(rule.peers, question)
        crash_here("priors-found")
        if not answers:
            return self._again(ask, silent=len(rule.peers))
        return self._choose(job, ask, rule, whose, answers)

    def _choose(
        self, job: Job, ask: Ask, rule: Rule, whose: Whose, answers: Mapping[str, Sequence[EarlierStudy]]
    ) -> bool:
        """Choose of what peers have, or say why nothing was."""
        found = _merged((peer, answers[peer]) for peer in rule.peers if peer in answers)
        if not whose.patient.issuer and len({study.issuer for _, study in found if study.issuer}) > 1:
            return self._end(ask, "priors.several_issuers")
        earlier = [
            (peer, study)
            for peer, study in found
            if study.study_uid != ask.study_uid and whose.later_than(study.day, study.time)
        ]
        fitting = [(peer, study) for peer, study in earlier if _fits(rule.when, study, whose)]
        newest = sorted(fitting, key=lambda entry: (entry[1].day, entry[1].time, entry[1].study_uid))
        silent = len(rule.peers) - len(answers)
        answer = Answer(found=len(earlier), fitting=len(fitting), silent=silent)
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            chosen = [
                self._choice(tx, job, peer, study) for peer, study in reversed(newest[-rule.priors.count :])
            ]
            waits = priors.choose(tx, ask, chosen, answer, at=now)
            if not chosen:
                priors.end(tx, ask, "priors.none", at=now)
        crash_here("priors-chosen")
        _log.info(
            "priors.chosen", study=short(ask.study_uid), job=ask.job_id, chosen=len(chosen), **vars(answer)
        )
        return waits and bool(chosen)

    def _choice(self, tx: Tx, job: Job, peer: str, study: EarlierStudy) -> Choice:
        """Say whether a study has to be fetched, and whether it is then here for nothing else."""
        uid = study.study_uid
        wanted = priors.sought_by(tx, uid, last_at=self._ledger.clock.now())
        here = bool(studies.instances_of(tx, uid)) and not wanted
        if here or comparable.result_of(tx, uid, job) is not None:
            return Choice(study_uid=uid, peer=None, only=False)
        age = as_datetime(self._ledger.clock.now()).date() - study.day
        return Choice(study_uid=uid, peer=peer, only=age.total_seconds() > self._limits.priors_recent_seconds)

    def _again(self, ask: Ask, *, silent: int) -> bool:
        due_at = self._ledger.clock.now() + self._limits.priors_ask_again_seconds
        with self._ledger.write() as tx:
            priors.put_off(tx, ask, word="priors.no_answer", silent=silent, due_at=due_at)
        return False

    def _end(self, ask: Ask, word: str) -> bool:
        with self._ledger.write() as tx:
            priors.end(tx, ask, word, at=self._ledger.clock.now())
        _log.info(word, study=short(ask.study_uid), job=ask.job_id)
        return False


def _cannot_be_asked(whose: Whose) -> str | None:
    """Return the word for why nobody can be asked about a study; None where they can."""
    if not whose.patient.patient_id:
        return "priors.no_patient_id"
    if not whose.patient.can_be_asked_for:
        return "priors.odd_patient_id"
    return None if whose.day is not None else "priors.no_date"


def _merged(answers: Iterable[tuple[str, Sequence[EarlierStudy]]]) -> _Found:
    """Return each study with the first peer that has it."""
    found: dict[str, tuple[str, EarlierStudy]] = {}
    for peer, there in answers:
        for study in there:
            found.setdefault(study.study_uid, (peer, study))
    return list(found.values())


def _fits(when: Condition | None, study: EarlierStudy, whose: Whose) -> bool:
    assert whose.day is not None, "a study without a date is not asked for"
    facts = {**study.said, "days_before": (whose.day - study.day).days}
    return when is None or when.ask(facts).holds
