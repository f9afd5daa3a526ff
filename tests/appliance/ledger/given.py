"""What the ledger's tests start from: instances, decided studies, leased jobs and their ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.instance import Instance, Location
from appliance.core.limits import Limits
from appliance.core.words import JobState, Outcome, Verdict
from appliance.ledger import arrivals, decisions, deliveries, jobs, results, studies
from appliance.ledger.engine import Ledger, Tx

STUDY = "1.2.3"
SERIES = "1.2.3.1"
OUTPUTS = ("sr", "seg", "sc", "text-sr", "iocm")
LIMITS = Limits()
NOW = 1_700_000_000.0


def instance(
    number: int = 1,
    *,
    study: str = STUDY,
    series: str = SERIES,
    content: str = "",
    file: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Instance:
    """One CT slice; `content` makes other bytes under the same UID, in a file of their own."""
    uid = f"{series}.{number}"
    digest = hashlib.sha256(f"{uid}/{content}".encode()).hexdigest()
    return Instance(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=uid,
        study_uid=study,
        series_uid=series,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        location=Location(file=file or f"in/{digest[:20]}", offset=400, length=2_000),
        digest=f"sha256:{digest}",
        pixel_offset=100,
        pixel_bytes=1_900,
        facts=facts or {"Modality": "CT", "PatientID": "P1", "PixelSpacing": [0.5, 0.5]},
    )


def kept(tx: Tx, *numbers: int, at: float = NOW, study: str = STUDY, series: str = SERIES) -> None:
    """Some slices arrived."""
    for number in numbers:
        arrivals.add(tx, instance(number, study=study, series=series), calling_ae="CT1", at=at)


def study(tx: Tx, uid: str = STUDY) -> studies.Study:
    """The study as it stands."""
    found = studies.find(tx, uid)
    assert found is not None
    return found


def content_digest(tx: Tx, uid: str = STUDY) -> str:
    """A digest over what a study holds now."""
    text = " ".join(sorted(each.digest for each in studies.instances_of(tx, uid)))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def ready(tx: Tx, uid: str = STUDY, *, at: float = NOW) -> studies.Study:
    """The study fell quiet."""
    digest, count = content_digest(tx, uid), studies.count_of(tx, uid)
    assert studies.ready(
        tx, study(tx, uid), content_digest=digest, instance_count=count, reason="quiet", at=at
    )
    return study(tx, uid)


def work(content: str, *, route: str = "bands", uid: str = STUDY, **other: Any) -> jobs.Work:
    """What a matching route asks for."""
    values: dict[str, Any] = {
        "study_uid": uid,
        "series_uid": SERIES,
        "route": route,
        "mode": "release",
        "model_name": "ct-tissue-bands",
        "model_version": "1.0.0",
        "model_digest": "sha256:11",
        "input_digest": content,
        "priority": 5,
        "refusal": None,
    }
    return jobs.Work(**{**values, **other})


def decision(content: str, *, route: str = "bands", uid: str = STUDY, **other: Any) -> decisions.Decision:
    """A route that matched."""
    sentence = decisions.SeriesSentence(
        series_uid=SERIES,
        number=2,
        description="STD",
        chosen=True,
        sentence="it matches and has the most slices",
    )
    return decisions.Decision(
        route=route,
        verdict=Verdict.RUN,
        reason="one series matches",
        series=(sentence,),
        work=work(content, route=route, uid=uid, **other),
    )


def no_match(route: str) -> decisions.Decision:
    """A route that did not match."""
    return decisions.Decision(route=route, verdict=Verdict.NO_MATCH, reason="no series matches")


def decided(tx: Tx, uid: str = STUDY, *, routes: Sequence[str] = ("bands",), at: float = NOW) -> list[int]:
    """Every route decided on the study's content; the jobs that were opened."""
    held = ready(tx, uid, at=at)
    assert held.content_digest is not None
    taken = [decision(held.content_digest, route=route, uid=uid) for route in routes]
    opened = decisions.record(tx, held, taken, at=at)
    assert opened is not None
    return opened


def a_job(ledger: Ledger, *numbers: int, routes: Sequence[str] = ("bands",), at: float = NOW) -> list[int]:
    """A study of a few slices that was decided, as one committed step."""
    with ledger.write() as tx:
        kept(tx, *(numbers or (1, 2, 3)), at=at)
        return decided(tx, routes=routes, at=at)


def leased(tx: Tx, job_id: int, *, owner: str = "worker:1", at: float = NOW) -> jobs.Job:
    """A worker took the job."""
    job = jobs.lease(tx, job_id, owner=owner, at=at, seconds=LIMITS.lease_seconds)
    assert job is not None
    return job


def result_object(job_id: int, output: str) -> results.ResultObject:
    """One object of a job's result."""
    return results.ResultObject(
        output=output,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid=f"2.25.{job_id}.{OUTPUTS.index(output)}",
        series_uid=f"2.25.{job_id}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_description="Readside",
        modality="SR",
        digest=f"sha256:{job_id}{output}",
        location=Location(file=f"out/{job_id}-{output}", offset=0, length=10),
        preview_file=f"out/{job_id}.png" if output == "sc" else None,
    )


def ending(
    job_id: int,
    *,
    state: JobState = JobState.DONE,
    outputs: Sequence[str] = ("sr", "sc"),
    send_to: Mapping[str, Sequence[str]] | None = None,
    outcome: Outcome = Outcome.MEASURED,
) -> results.Ending:
    """How a job's attempt ended, with objects for `pacs` and, of those, the SR for `archive`."""
    result = results.Result(
        outcome=outcome,
        statement="Bone 12 mL.",
        engine="ONNX Runtime CPU",
        stepped_down=None,
        evidence_digest="sha256:ev",
        evidence=[["1.2.3.1.1", "sha256:aa"]],
        measurements=[{"name": "Volume", "value": 12.0, "unit": "mL", "segment": "bone"}],
        seconds={"infer": 0.5},
    )
    return results.Ending(
        state=state,
        word="job.done" if state is JobState.DONE else "job.failed",
        reason=None,
        result=result,
        objects=[result_object(job_id, output) for output in outputs],
        send_to={"pacs": ("sr", "sc"), "archive": ("sr",)} if send_to is None else send_to,
    )


def ended(ledger: Ledger, *, at: float = NOW) -> jobs.Job:
    """A study that came to a result with three deliveries: `sr` and `sc` to pacs, `sr` to archive."""
    (job_id,) = a_job(ledger, at=at)
    with ledger.write() as tx:
        job = leased(tx, job_id, at=at)
        assert results.end(tx, job, ending(job_id), at=at)
    return job


def parcels(ledger: Ledger, peer: str = "pacs", *, at: float = NOW) -> list[deliveries.Parcel]:
    """A courier took what is due at a peer."""
    with ledger.write() as tx:
        return deliveries.take(tx, peer, at=at, limits=LIMITS)
