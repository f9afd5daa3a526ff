"""Ask every active route about a study that became ready, and write what each said (P3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance.assemble.gather import digest_of
from appliance.assemble.ready import DISCONTINUED
from appliance.assemble.spare import spared
from appliance.core import log
from appliance.core.crash import crash_here
from appliance.core.words import StudyState, Verdict, short
from appliance.ledger import announced, decisions, jobs, priors, studies
from appliance.ledger.engine import Ledger, Tx
from appliance.routes.match import Candidate, Match, match
from appliance.routes.table import ActiveRoute, RouteTable
from models.analysis import check_geometry

_log = log.get("routes")
_DECIDED = (StudyState.DECIDED, StudyState.CLOSED)
_PRIORITY_MAX = 9


class Decider:
    """Asks the active routes about ready studies; a decision names the model that served when it was made."""

    def __init__(self, ledger: Ledger, table: RouteTable) -> None:
        self._ledger, self._table = ledger, table

    def turn(self) -> list[int]:
        """Decide every ready study; return the jobs that were opened or stand already."""
        self._table.refresh()
        with self._ledger.read() as tx:
            ready = studies.in_state(tx, StudyState.READY)
        nothing: list[int] = []
        return [job for study in ready for job in spared(self._ledger, study, self._work_of(study), nothing)]

    def _work_of(self, study: studies.Study) -> Callable[[], list[int]]:
        return lambda: self._decide(study)

    def _decide(self, study: studies.Study) -> list[int]:
        with self._ledger.write() as tx:
            # Another version was activated since the look: the next turn decides with that one.
            if not self._table.is_fresh(tx):
                return []
            candidates = _candidates(tx, study.study_uid)
            sought = priors.sought_by(tx, study.study_uid, last_at=study.last_at)
            taken = [self._ask(tx, study, active, candidates, sought) for active in self._table.routes]
            if announced.discontinued(tx, study.study_uid):
                taken = [replace(one, reason=f"{one.reason}; {DISCONTINUED}") for one in taken]
            opened = decisions.record(tx, study, taken, at=self._ledger.clock.now())
        crash_here("study-decided")
        if opened is None:
            return []
        verdicts = {decision.route: decision.verdict.value for decision in taken}
        _log.info("routes.decided", study=short(study.study_uid), verdicts=verdicts)
        return opened

    def to_compare(self, study_uid: str, route: str, *, since: float) -> bool:
        """Have a route work on a study that was decided before; say whether a job of it is open now.

        Only to compare with: the route was not there yet, or its result went after its time of keeping. What
        was worked on since a moment, in epoch seconds, is not worked on again.
        """
        return self._also(study_uid, route, {route}, since=since)

    def also(self, study_uid: str, route: str) -> bool:
        """Have a route judge a study that was decided without it; say whether a job of it is open now.

        For who asks for the study itself: the route was not there yet, or left the study to another.
        """
        return self._also(study_uid, route, (), since=0.0)

    def _also(self, study_uid: str, route: str, sought: Collection[str], *, since: float) -> bool:
        self._table.refresh()
        with self._ledger.write() as tx:
            study = studies.find(tx, study_uid)
            active = next((one for one in self._table.routes if one.route.name == route), None)
            if study is None or active is None or study.state not in _DECIDED or not self._table.is_fresh(tx):
                return False
            decision = self._ask(tx, study, active, _candidates(tx, study_uid), sought)
            return decisions.record_also(tx, study, decision, since=since, at=self._ledger.clock.now())

    def _ask(
        self,
        tx: Tx,
        study: studies.Study,
        active: ActiveRoute,
        candidates: Sequence[Candidate],
        sought: Collection[str],
    ) -> decisions.Decision:
        if sought and active.route.name not in sought:
            return _not_asked(active, candidates)
        made = match(active.when, active.accepts, _geometry(active), candidates)
        work = None if made.chosen is None else _work(tx, study, active, made)
        # The work may not be done although the route and its model would take the series.
        refused = work is not None and work.refusal is not None
        rule = active.route.priors
        if work is not None and sought:
            # A job waits for it already.
            work = replace(work, priority=min(work.priority + 1, _PRIORITY_MAX))
            if rule is None or not rule.send:
                work = replace(work, mode=priors.MODE)
        return decisions.Decision(
            route=active.route.name,
            verdict=Verdict.NOT_ELIGIBLE if refused else made.verdict,
            reason=(work and work.refusal) or made.reason,
            series=[
                _as_row(sentence.candidate, sentence.chosen, sentence.text) for sentence in made.sentences
            ],
            work=work,
            # An earlier study is not compared with still earlier ones.
            wait_seconds=None if rule is None or work is None or refused or sought else rule.wait_seconds,
        )


def _candidates(tx: Tx, study_uid: str) -> list[Candidate]:
    return [Candidate(series_uid=s.series_uid, facts=s.facts or {}) for s in studies.series_of(tx, study_uid)]


def _not_asked(active: ActiveRoute, candidates: Sequence[Candidate]) -> decisions.Decision:
    """Leave a study alone that is here for another route, and only to be compared with."""
    return decisions.Decision(
        route=active.route.name,
        verdict=Verdict.NO_MATCH,
        reason=decisions.ONLY_TO_COMPARE,
        series=[_as_row(one, chosen=False, text="not asked for") for one in candidates],
    )


def _geometry(active: ActiveRoute) -> Callable[[Mapping[str, Any]], list[str]]:
    """Return the model's own check of a series; none for a model whose files cannot be read."""
    package = active.model.package
    return lambda facts: [] if package is None else check_geometry(package.manifest, facts)


def _as_row(candidate: Candidate, chosen: bool, text: str) -> decisions.SeriesSentence:
    return decisions.SeriesSentence(
        series_uid=candidate.series_uid,
        number=candidate.number,
        description=candidate.description,
        chosen=chosen,
        sentence=text,
    )


def _work(tx: Tx, study: studies.Study, active: ActiveRoute, made: Match) -> jobs.Work:
    assert made.chosen is not None, "only a match is work"
    found = studies.instances_of(tx, study.study_uid, made.chosen.series_uid)
    lost = studies.lost_of(tx, study.study_uid, made.chosen.series_uid)
    work = jobs.Work(
        study_uid=study.study_uid,
        series_uid=made.chosen.series_uid,
        route=active.route.name,
        mode=active.route.mode,
        model_name=active.model.name,
        model_version=active.model.version,
        model_digest=active.model.digest,
        input_digest=digest_of([*found, *lost]),
        priority=active.route.priority,
        refusal=made.refusal,
    )
    # What was purged or damaged still belongs to the series: work that was done with it stands, and no new
    # work may pass off the rest of the images as all of them.
    if lost and not jobs.known(tx, work):
        return replace(work, refusal=_incomplete(len(lost), len(found) + len(lost)))
    return work


def _incomplete(lost: int, total: int) -> str:
    return (
        f"{lost} of the series' {total} images are no longer on the box;"
        " send the whole series again to have it analysed"
    )
