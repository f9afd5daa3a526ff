"""Results with real images and real objects behind them, for the tests of the preview."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.core.instance import Instance
from appliance.core.words import JobState, Outcome, Verdict
from appliance.ledger import arrivals, decisions, jobs, results, studies
from appliance.ledger.jobs import Work
from appliance.results.context import EncodedObject, Notice
from appliance.results.encode import encode, encode_notice
from appliance.spool.store import Spool
from appliance.worker.folder import instances_from_folder
from appliance.worker.freeze import freeze
from appliance.worker.reading import read_header
from appliance.worker.run import Analysis
from models.findings import Findings
from tests.appliance.console.filling import DIGEST, Console
from tests.appliance.results.given import context

ROUTE = "ct-bands"
OUTPUTS = frozenset({"sr", "seg"})


@dataclass(frozen=True, kw_only=True)
class Previewed:
    """A result on a console, and the objects it consists of."""

    console: Console
    result_id: int
    job_id: int
    instances: Sequence[Instance]
    objects: Sequence[EncodedObject]

    @property
    def api(self) -> str:
        """Where its data are."""
        return f"/api/v1/results/{self.result_id}/preview"

    @property
    def page(self) -> str:
        """Where its page is."""
        return f"/results/{self.result_id}/view"

    def object(self, output: str) -> EncodedObject:
        """The first object of a kind."""
        return next(item for item in self.objects if item.output == output)


@dataclass(frozen=True, kw_only=True)
class Template:
    """Images in a folder, and what an analysis of them came to; it can be put on many consoles."""

    folder: Path
    objects: Sequence[EncodedObject]
    findings: Findings


def analysed(
    folder: Path, analysis: Analysis, findings: Findings | None = None, *, outputs: frozenset[str] = OUTPUTS
) -> Template:
    """Encode an analysis of the images of a folder, or other findings on its volume."""
    made = encode(
        replace(context(), study_uid=instances_from_folder(folder).instances[0].study_uid),
        sources=analysis.sources,
        volume=analysis.volume,
        findings=findings or analysis.findings,
        outputs=outputs,
    )
    return Template(folder=folder, objects=made, findings=findings or analysis.findings)


def recorded(console: Console, template: Template) -> Previewed:
    """Keep a template's images below the console's root, and its result."""
    folder = console.root / "kept" / "1"
    shutil.copytree(template.folder, folder)
    instances, findings = instances_from_folder(folder).instances, template.findings
    evidence = [[one.sop_instance_uid, one.digest] for one in instances]
    outcome = Outcome(findings.outcome.value)
    ended = _ending(outcome, findings.statement, evidence)
    return _recorded(console, folder, instances, template.objects, ended)


def noticed(console: Console, folder: Path, outcome: Outcome, reason: str) -> Previewed:
    """Keep the images of a folder, and a result that is no inference."""
    content = instances_from_folder(folder)
    instances = content.instances
    kinds = {Outcome.NOT_ELIGIBLE: "not eligible", Outcome.FAILED: "failed", Outcome.NOT_RUN: "not run"}
    made = encode_notice(
        replace(context(), study_uid=instances[0].study_uid),
        sources=[read_header(instances[0], content.reader)],
        notice=Notice(kind=kinds[outcome], reason=reason, what_to_do="Read the study without this model."),  # type: ignore[arg-type]
        outputs=frozenset({"sr"}),
    )
    return _recorded(console, folder, instances, made, _ending(outcome, reason, []))


def again(shown: Previewed) -> int:
    """Let the job's work be asked for once more and end with a result that supersedes; return that result."""
    ledger, now = shown.console.ledger, shown.console.clock.now()
    with ledger.write() as tx:
        former = jobs.find(tx, shown.job_id)
        assert former is not None
        job = jobs.lease(tx, jobs.again(tx, former, at=now), owner="w", at=now, seconds=30)
        assert job is not None
        assert results.end(tx, job, _ending(Outcome.MEASURED, "Later.", []), at=now)
        newer = results.find_of_job(tx, job.id)
        assert newer is not None
        return newer.id


def _recorded(
    console: Console,
    folder: Path,
    instances: Sequence[Instance],
    made: Sequence[EncodedObject],
    ending: results.Ending,
) -> Previewed:
    below = folder.relative_to(console.root).as_posix()
    kept = [
        replace(one, location=replace(one.location, file=f"{below}/{one.location.file}")) for one in instances
    ]
    job_id = _opened(console, kept)
    now = console.clock.now()
    frozen = freeze(Spool(console.root, "results"), made, ae_title="READSIDE", at=now)
    with console.ledger.write() as tx:
        job = jobs.lease(tx, job_id, owner="worker", at=now, seconds=30)
        assert job is not None
        assert results.end(tx, job, replace(ending, objects=frozen), at=now)
        result = results.find_of_job(tx, job_id)
        assert result is not None
    return Previewed(console=console, result_id=result.id, job_id=job_id, instances=kept, objects=made)


def _opened(console: Console, kept: Sequence[Instance]) -> int:
    """Let a study arrive, fall quiet and be decided; return its job."""
    uid, now = kept[0].study_uid, console.clock.now()
    with console.ledger.write() as tx:
        for instance in kept:
            arrivals.add(tx, instance, calling_ae="CT1", at=now)
        for entry in studies.series_of(tx, uid):
            assert studies.complete_series(tx, entry, facts={"slices": len(kept)}, at=now)
        study = studies.find(tx, uid)
        assert study is not None
        assert studies.ready(
            tx, study, content_digest=DIGEST, instance_count=len(kept), reason="quiet", at=now
        )
        study = studies.find(tx, uid)
        assert study is not None
        work = Work(
            study_uid=uid, series_uid=kept[0].series_uid, route=ROUTE, mode="release",
            model_name="ct-phantom-lesion", model_version="1.0.0", model_digest="sha256:" + "cd" * 32,
            input_digest=DIGEST, priority=5, refusal=None,
        )  # fmt: skip
        taken = decisions.Decision(route=ROUTE, verdict=Verdict.RUN, reason="It fits.", series=[], work=work)
        opened = decisions.record(tx, study, [taken], at=now)
    assert opened is not None
    return opened[0]


def _ending(outcome: Outcome, statement: str, evidence: list[list[str]]) -> results.Ending:
    state = JobState.FAILED if outcome is Outcome.FAILED else JobState.DONE
    return results.Ending(
        state=state,
        word="job.done" if state is JobState.DONE else "job.failed",
        reason=None,
        result=results.Result(
            outcome=outcome,
            statement=statement,
            engine="ONNX Runtime 1.31.1 CPU" if evidence else "none: the model did not run",
            stepped_down=None,
            evidence_digest=DIGEST,
            evidence=evidence,
            measurements=[],
            seconds={},
        ),
        objects=(),
        send_to={"pacs": ("sr", "seg")},
    )
