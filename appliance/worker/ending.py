"""How an attempt ends: a result or a notice is encoded, frozen and recorded in one transaction (P4, P8)."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core import log
from appliance.core.clock import as_datetime
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.core.words import JobState, Outcome, short
from appliance.disk.identity import device_uid
from appliance.ledger import acceptances, figures, jobs, results
from appliance.ledger.engine import Ledger
from appliance.ledger.figures import Figures
from appliance.ledger.jobs import Job
from appliance.ledger.priors import MODE as PRIOR_MODE
from appliance.ledger.results import Ending, Result
from appliance.results.context import EncodedObject, Notice, NoticeKind, Reference, ResultContext
from appliance.results.encode import encode, encode_notice
from appliance.spool.store import Spool
from appliance.worker.addressing import OF_FINDINGS, Addressing, address, destinations, nothing_to_show
from appliance.worker.comparison import compared
from appliance.worker.engines import EngineShelf, Serving
from appliance.worker.figures import figures_of, figures_wanted
from appliance.worker.freeze import freeze, thaw
from appliance.worker.naming import name_images
from appliance.worker.provenance import Maker, provenance_of
from appliance.worker.run import Analysis
from appliance.worker.summary import rows_of

_log = log.get("worker")
_NO_ENGINE = "none: the model did not run"
_KINDS: dict[Outcome, NoticeKind] = {
    Outcome.NOT_ELIGIBLE: "not eligible",
    Outcome.FAILED: "failed",
    Outcome.NOT_RUN: "not run",
}
_WHAT_TO_DO = {
    Outcome.NOT_ELIGIBLE: "Read the study without this model.",
    Outcome.FAILED: "Read the study without this model. The box's console shows what happened.",
    Outcome.NOT_RUN: "Read the study without this model. A person must look at the box's console.",
}
_STATES = {
    Outcome.NOT_ELIGIBLE: JobState.DONE,
    Outcome.FAILED: JobState.FAILED,
    Outcome.NOT_RUN: JobState.HELD,
}


class Endings:
    """Records the end of attempts."""

    def __init__(self, ledger: Ledger, config: Config, engines: EngineShelf, kept: Spool) -> None:
        self._ledger, self._config, self._engines = ledger, config, engines
        self._spool, self._kept = Spool(config.storage.root, "results"), kept
        self._device_uid = device_uid(config.storage.root)

    def result(self, job: Job, serving: Serving, analysis: Analysis) -> bool:
        """End a job with what its model found."""
        findings = analysis.findings
        absent = nothing_to_show(findings, volume=analysis.volume, source=analysis.sources[0])
        addressing = self._address(job, Outcome(findings.outcome.value), absent=absent)
        context = self._context(
            job, serving.engine_text, stepped_down=serving.stepped_down, addressing=addressing
        )
        context = compared(self._ledger, self._spool, job, context, findings)
        made = encode(
            context,
            sources=analysis.sources,
            volume=analysis.volume,
            findings=findings,
            outputs=addressing.outputs,
        )
        result = Result(
            outcome=Outcome(findings.outcome.value),
            statement=findings.statement,
            engine=serving.engine_text,
            stepped_down=serving.stepped_down,
            evidence_digest=analysis.evidence.digest,
            evidence=analysis.evidence.instances,
            measurements=rows_of(findings),
            seconds=analysis.seconds,
        )
        # What was fetched to be compared with is none of what comes to this box.
        counts = figures_wanted(self._config) and job.mode != PRIOR_MODE
        numbers = figures_of(analysis) if counts else None
        return self._record(
            job,
            JobState.DONE,
            "job.done",
            None,
            result=result,
            made=made,
            addressing=addressing,
            numbers=numbers,
        )

    def notice(self, job: Job, outcome: Outcome, *, word: str, reason: str) -> bool:
        """End a job with the reason why there is no answer."""
        with self._ledger.read() as tx:
            inputs = jobs.inputs_of(tx, job.id)
        addressing = self._address(job, outcome, absent=OF_FINDINGS)
        context = self._context(job, _NO_ENGINE, stepped_down=None, addressing=addressing)
        notice = Notice(kind=_KINDS[outcome], reason=reason, what_to_do=_WHAT_TO_DO[outcome])
        made = encode_notice(
            context,
            sources=name_images(inputs, self._kept),
            notice=notice,
            outputs=addressing.outputs,
        )
        result = _without_answer(outcome, reason, evidence_digest=job.input_digest)
        return self._record(
            job, _STATES[outcome], word, reason, result=result, made=made, addressing=addressing
        )

    def overtaken(self, job: Job) -> bool:
        """End a job for which newer images came before it ran; a later job speaks, so nothing is sent."""
        reason = "newer images of this study came before the model ran; a later job works on them"
        result = _without_answer(Outcome.NOT_RUN, reason, evidence_digest=job.input_digest)
        addressing = self._address(job, Outcome.NOT_RUN, absent=OF_FINDINGS)
        return self._record(
            job, JobState.DONE, "job.overtaken", reason, result=result, made=[], addressing=addressing
        )

    def _address(self, job: Job, outcome: Outcome, *, absent: frozenset[str]) -> Addressing:
        peers = destinations(self._config, job.route, job.mode)
        with self._ledger.read() as tx:
            answers = acceptances.answers(tx, [peer.name for peer in peers])
        return address(peers, answers, outcome=outcome, absent=absent)

    def _record(
        self, job: Job, state: JobState, word: str, reason: str | None, *, result: Result,
        made: Sequence[EncodedObject], addressing: Addressing, numbers: Figures | None = None,
    ) -> bool:  # fmt: skip
        now = self._ledger.clock.now()
        frozen = freeze(self._spool, made, ae_title=self._config.dicom.ae_title, at=now)
        ending = Ending(
            state=state,
            word=word,
            reason=reason,
            result=result,
            objects=frozen,
            send_to=addressing.send_to,
            stand_ins=addressing.stand_ins if made else (),
            untaken=addressing.untaken,
        )
        crash_here("frozen-unrecorded")
        with self._ledger.write() as tx:
            done = results.end(tx, job, ending, at=now)
            if done and numbers is not None:
                figures.add(tx, job.id, job.model_digest, numbers, at=now)
        crash_here("result-recorded")
        if not done:
            _log.warning("queue.stale_lease", job=job.id)
            thaw(self._spool, frozen)
            return False
        _log.info(
            word, job=job.id, study=short(job.study_uid), outcome=result.outcome.value, objects=len(frozen)
        )
        return True

    def _context(
        self, job: Job, engine: str, *, stepped_down: str | None, addressing: Addressing
    ) -> ResultContext:
        with self._ledger.read() as tx:
            former = results.predecessor(tx, job)
            superseded = [] if former is None else results.addressed_objects_of(tx, former.id)
        maker = Maker(
            engine=engine,
            stepped_down=stepped_down,
            device_uid=self._device_uid,
            site_name=self._config.site.name,
        )
        return ResultContext(
            provenance=provenance_of(job, self._engines.package(job.model_digest), maker),
            route=job.route,
            study_uid=job.study_uid,
            content_digest=job.input_digest,
            run=job.run,
            at=as_datetime(self._ledger.clock.now()),
            supersedes=[
                Reference(
                    sop_class_uid=item.sop_class_uid,
                    sop_instance_uid=item.sop_instance_uid,
                    series_uid=item.series_uid,
                    study_uid=job.study_uid,
                    output=item.output,
                )
                for item in superseded
            ],
            superseded_at=None if former is None else as_datetime(former.created_at),
            stands_in=addressing.stands_in,
            refers_to=addressing.refers_to,
        )


def _without_answer(outcome: Outcome, reason: str, *, evidence_digest: str) -> Result:
    return Result(
        outcome=outcome,
        statement=reason,
        engine=_NO_ENGINE,
        stepped_down=None,
        evidence_digest=evidence_digest,
        evidence=[],
        measurements=[],
        seconds={},
    )
