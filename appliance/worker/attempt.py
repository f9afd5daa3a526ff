"""One attempt at one job: lease, read, analyse, encode, freeze, record; the ledger says how it ended.

An attempt may die at any instant; the lease runs out and another takes the job.
Only the last step, one transaction, makes a result; before it nothing that was written counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core import log
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.core.instance import Instance
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import JobState, Outcome
from appliance.disk.durable import DiskFault, NoSpace
from appliance.inference.engine import InferenceError
from appliance.ledger import custody, jobs, priors, results
from appliance.ledger.engine import Ledger
from appliance.ledger.jobs import Job
from appliance.spool.store import Spool
from appliance.spool.verify import damaged
from appliance.worker.addressing import maps_wanted
from appliance.worker.beforehand import Asked, Beforehand
from appliance.worker.decode import Decoder
from appliance.worker.early import Whom
from appliance.worker.ending import Endings
from appliance.worker.engines import EngineShelf, ModelGone, Serving
from appliance.worker.heartbeat import Heartbeat
from appliance.worker.limits import WorkerLimits
from appliance.worker.prepared import Key, Prepared, PreparedDecoder, PreparedReader, rest_of
from appliance.worker.run import Analysis, AnalysisFailed, NotEligible, analyse_series
from appliance.worker.shadow_desk import ShadowDesk

_log = log.get("worker")
_DAMAGED = "images of this study are damaged on the box's disk"
# Another try may find the engine started anew, or memory that somebody else gave back.
_MAY_PASS = frozenset({"inference.crashed", "inference.memory", "inference.busy", "inference.closed"})


@dataclass(frozen=True, kw_only=True)
class Passing:
    """A failure that may pass: the job is tried again a little later, so often and no more."""

    word: str
    reason: str


class Attempter:
    """Takes jobs and brings each to an end that can be seen; several threads may let it do so at once."""

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        *,
        owner: str,
        limits: Limits = DEFAULT,
        engines: EngineShelf | None = None,
        beforehand: Beforehand | None = None,
        desk: ShadowDesk | None = None,
    ) -> None:
        self._ledger, self._config, self._owner, self._limits = ledger, config, owner, limits
        self._desk = desk or ShadowDesk()
        self._kept = Spool(config.storage.root)
        self._engines = engines or EngineShelf(ledger, config)
        self._beforehand = beforehand or Beforehand()
        self._decoder = Decoder(WorkerLimits().decode)
        self._endings = Endings(ledger, config, self._engines, self._kept)

    def warm_up(self) -> None:
        """Load the engines of the site's models before the first study needs them."""
        self._engines.warm_up()

    def refresh(self) -> None:
        """Follow what became of the box's models meanwhile; cheap when nothing did."""
        self._engines.refresh()

    def close(self) -> None:
        """End every process that was kept for the next job."""
        self._engines.close()
        self._decoder.close()

    def attempt(self, job_id: int) -> bool:
        """Work on a job if it is still to be had; say whether it was."""
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            job = jobs.lease(tx, job_id, owner=self._owner, at=now, seconds=self._limits.lease_seconds)
            stale = job is not None and jobs.newer_exists(tx, job)
            if job is not None:
                # From here on it is settled what the job is compared with.
                priors.close(tx, job.id, at=now)
        if job is None:
            return self._explain_held(job_id)
        crash_here("job-leased")
        with Heartbeat(self._ledger, job, self._limits), self._beforehand.job():
            try:
                self._end(job, stale=stale)
            except NoSpace:
                # Without room not even a notice can be written, so it is tried until there is some.
                self._give_back(job, Passing(word="disk.full", reason="the box's disk is full"))
        return True

    def _end(self, job: Job, *, stale: bool) -> None:
        if stale:
            self._endings.overtaken(job)
        elif job.refusal is not None:
            self._endings.notice(job, Outcome.NOT_ELIGIBLE, word="job.not_eligible", reason=job.refusal)
        else:
            self._work(job)

    def _work(self, job: Job) -> None:
        """Analyse, and turn every way it can go wrong into an end or a pause."""
        try:
            passing = self._analyse(job)
        except NotEligible as refusal:
            reason = " ".join(refusal.reasons)
            self._endings.notice(job, Outcome.NOT_ELIGIBLE, word="job.not_eligible", reason=reason)
        except (AnalysisFailed, InferenceError) as failure:
            if failure.word in _MAY_PASS:
                self._postpone(job, Passing(word=failure.word, reason=failure.sentence))
            else:
                self._endings.notice(job, Outcome.FAILED, word=failure.word, reason=failure.sentence)
        except ModelGone as gone:
            self._endings.notice(job, Outcome.FAILED, word="model.gone", reason=str(gone))
        else:
            if passing is not None:
                self._postpone(job, passing)

    def _analyse(self, job: Job) -> Passing | None:
        """Run the model on exactly the job's instances and record the result; or say what may pass."""
        with self._ledger.read() as tx:
            instances = jobs.inputs_of(tx, job.id)
        try:
            found = self._beforehand.take(self._asked(job, instances))
            prepared = self._beforehand.slices.of(instances)
            # What was made ahead was made from bytes that were held against their digests then.
            if found is None and (bad := damaged(self._kept, rest_of(instances, prepared))):
                self._quarantine(job, bad)
                return None
            with self._engines.serve(job.model_name, job.model_digest, priority=job.priority) as serving:
                if found is not None and found.made_by(serving):
                    analysis = found.analysis
                else:
                    analysis, found = self._analysed(job, instances, prepared, serving), None
                _tell_ahead(job, instances, prepared, analysis, analysed=found is not None)
                # Before it may be unloaded: the result names the engine that made it.
                recorded = self._endings.result(job, serving, analysis)
            if recorded:
                self._desk.leave(job, analysis.findings)
            return None
        except OSError as error:
            return Passing(word="disk.unreadable", reason=f"the box's disk failed: {error.strerror}")
        except MemoryError:
            return Passing(word="worker.memory", reason="the box has too little memory for this series")
        except (NotEligible, AnalysisFailed, InferenceError, ModelGone, NoSpace, DiskFault):
            raise
        # Whatever a model or an odd image brings about must end in a result that can be seen.
        except Exception as error:  # noqa: BLE001 - the worker's main loop
            incident = secrets.token_hex(4)
            kind, places = type(error).__name__, log.where(error)
            _log.error("job.unforeseen", job=job.id, incident=incident, error=kind, where=places)
            return Passing(word="job.fault", reason=f"an unforeseen {kind}, incident {incident}")

    def _asked(self, job: Job, instances: Sequence[Instance]) -> Asked:
        return Asked.of(instances, job.model_digest, maps=maps_wanted(self._config, job.route))

    def _analysed(
        self, job: Job, instances: Sequence[Instance], prepared: Mapping[Key, Prepared], serving: Serving
    ) -> Analysis:
        """Analyse now, with the slices that were prepared."""
        return analyse_series(
            serving.package,
            serving.engine,
            instances,
            PreparedReader.of(prepared, self._kept),
            decoder=PreparedDecoder(prepared=prepared, decoder=self._decoder),
            maps=maps_wanted(self._config, job.route),
            empty=self._beforehand.space.empty,
            heard=self._beforehand.answers.of(Whom.of(job.study_uid, serving)),
        )

    def _quarantine(self, job: Job, bad: Sequence[Instance]) -> None:
        """Take damaged instances out of their study and say so (F41)."""
        _log.critical("disk.digest_mismatch", job=job.id, instances=len(bad))
        with self._ledger.write() as tx:
            places = [instance.location for instance in bad]
            custody.quarantine_at(tx, places, reason=_DAMAGED, at=self._ledger.clock.now())
        self._endings.notice(job, Outcome.FAILED, word="disk.digest_mismatch", reason=_DAMAGED)

    def _postpone(self, job: Job, passing: Passing) -> None:
        if job.attempts >= self._limits.attempts_max:
            self._endings.notice(job, Outcome.FAILED, word=passing.word, reason=passing.reason)
            return
        self._give_back(job, passing)

    def _give_back(self, job: Job, passing: Passing) -> None:
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            jobs.postpone(
                tx,
                job,
                word=passing.word,
                reason=passing.reason,
                at=now,
                not_before=now + self._limits.retry_seconds,
            )

    def _explain_held(self, job_id: int) -> bool:
        """Write the "not run" result of a held job, if it still needs one."""
        with self._ledger.write() as tx:
            job = jobs.claim_notice(
                tx, job_id, owner=self._owner, at=self._ledger.clock.now(), limits=self._limits
            )
            needed = job is not None and results.find_of_job(tx, job.id) is None
        if job is None or job.state is not JobState.HELD or not needed:
            return False
        try:
            reason = job.reason or "the job is held"
            self._endings.notice(job, Outcome.NOT_RUN, word="job.held", reason=reason)
        except NoSpace:
            with self._ledger.write() as tx:
                jobs.unclaim_notice(tx, job, until=self._ledger.clock.now() + self._limits.retry_seconds)
        return True


def _tell_ahead(
    job: Job,
    instances: Sequence[Instance],
    prepared: Mapping[Key, Prepared],
    analysis: Analysis,
    *,
    analysed: bool,
) -> None:
    if prepared or analysed:
        _log.info(
            "readahead.used",
            job=job.id,
            slices=len(prepared),
            of=len(instances),
            batches=analysis.ahead,
            analysed=analysed,
        )
