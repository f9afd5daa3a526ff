"""Look after jobs that wait for earlier studies: what came of each, and when the wait is over.

Promises: an earlier study is used only if its bytes say that it is the same patient's, and earlier. A wait
ends as soon as there is nothing left to wait for.
Never: fetches or analyses; that goes the way of every study.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.assemble.spare import spared_ask
from appliance.assemble.turns import one_by_one
from appliance.assemble.whose import whose_images, whose_result
from appliance.core import log
from appliance.core.crash import crash_here
from appliance.core.words import JobState, short
from appliance.ledger import comparable, jobs, priors, results
from appliance.ledger.engine import Ledger
from appliance.ledger.jobs import Job
from appliance.ledger.priors import Ask, Prior, PriorState
from appliance.spool.store import Spool

_log = log.get("assemble")
# Study, route, and since when -> whether a job is open now.
Renew = Callable[[str, str, float], bool]
# Of these the images may be here.
_MAY_BE_RENEWED = ("prior.not_judged", "prior.no_report")


class Comparer:
    """Settles what was chosen, study by study.

    `renew` has a study analysed that is here and has no answer to compare with, see `Decider.to_compare`.
    """

    def __init__(self, ledger: Ledger, spool: Spool, renew: Renew) -> None:
        self._ledger, self._spool, self._renew = ledger, spool, renew

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Look at every job that waits for studies; return for how many the wait ended."""
        with self._ledger.read() as tx:
            waiting = priors.answered(tx)
        return one_by_one(waiting, self._spared, stopping)

    def _spared(self, ask: Ask) -> bool:
        return spared_ask(self._ledger, ask, lambda: self._look_after(ask))

    def _look_after(self, ask: Ask) -> bool:
        with self._ledger.read() as tx:
            job = jobs.find(tx, ask.job_id)
            overtaken = job is None or job.state is not JobState.WAITING or jobs.newer_exists(tx, job)
            chosen = priors.of_ask(tx, ask.id)
        if job is None or overtaken:
            return self._end(ask, "priors.not_wanted")
        left = [prior for prior in chosen if prior.state is PriorState.WAITED]
        settled = [self._settle(prior, job) for prior in left]
        if all(settled):
            return self._end(ask, priors.DONE)
        return self._ledger.clock.now() >= ask.until_at and self._end(ask, priors.LATE)

    def _settle(self, prior: Prior, job: Job) -> bool:
        """Record what became of one earlier study, if that can be said by now."""
        with self._ledger.read() as tx:
            stands = comparable.standing(tx, prior, job)
        if stands.result_id is None and stands.lacking is None:
            return False
        word = stands.lacking
        if word in _MAY_BE_RENEWED and self._renew(prior.study_uid, job.route, prior.chosen_at):
            return False
        if stands.result_id is not None:
            word = self._contradiction(stands.result_id, job)
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            if word is not None:
                priors.lack(tx, prior, word, at=now)
            elif stands.result_id is not None:
                priors.use(tx, prior, stands.result_id, at=now)
        _log.info(word or "prior.used", study=short(job.study_uid), prior=short(prior.study_uid))
        return True

    def _contradiction(self, result_id: int, job: Job) -> str | None:
        """Return the word for why a result is nothing to compare a job with; None where it is."""
        with self._ledger.read() as tx:
            images = jobs.inputs_of(tx, job.id)
            reports = [made for made in results.objects_of(tx, result_id) if made.output == comparable.REPORT]
        here, then = (
            whose_images(images[len(images) // 2], self._spool),
            whose_result(reports[0], self._spool),
        )
        if not here.same_patient(then):
            return "prior.other_patient"
        return None if here.later_than(then.day, then.time) else "prior.not_earlier"

    def _end(self, ask: Ask, word: str) -> bool:
        with self._ledger.write() as tx:
            ended = priors.end(tx, ask, word, at=self._ledger.clock.now())
        crash_here("priors-ended")
        if ended:
            _log.info(word, study=short(ask.study_uid), job=ask.job_id)
        return ended
