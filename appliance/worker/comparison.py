"""What a job's result is compared with: the results of earlier studies that its rows name.

Promises: the same rows give the same comparison, whenever and however often the job is worked on; where a
route asks for earlier studies and none is there, the result says so.
Never: looks for anything; what the job is compared with was settled when it began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from pydicom import dcmread

from appliance.ledger import jobs, priors, results
from appliance.ledger.engine import Ledger
from appliance.ledger.jobs import Job
from appliance.ledger.priors import Prior, PriorState
from appliance.ledger.results import ResultObject
from appliance.results import earlier
from appliance.results.context import Earlier, Reference, ResultContext
from appliance.spool.store import Spool
from dicom_node.earlier import day_of
from models.findings import Findings

_REPORT = "sr"
_NONE_FOUND = "Not compared with an earlier study: none that fits was found."
_NONE_USED = "Not compared with an earlier study: what was found could not be used, or not in time."
_NOT_ASKED = "Not compared with an earlier study: it could not be found out whether there is one."


def compared(
    ledger: Ledger, spool: Spool, job: Job, context: ResultContext, findings: Findings
) -> ResultContext:
    """Add to a result what it is compared with, and words for it; nothing where the route asks for none.

    Raises:
        OSError: an earlier report could not be read from the disk.
    """
    with ledger.read() as tx:
        ask = priors.of_job(tx, job.id)
        chosen = [] if ask is None else priors.of_ask(tx, ask.id)
    if ask is None:
        return context
    used = [prior for prior in chosen if prior.state is PriorState.USED]
    found = [one for prior in used if (one := _earlier(ledger, spool, job, prior)) is not None]
    with_them = replace(context, earlier=tuple(found))
    if found:
        said = earlier.standing(with_them, findings)
    elif chosen:
        said = [_NONE_USED]
    else:
        said = [_NONE_FOUND if ask.word == "priors.none" else _NOT_ASKED]
    return replace(with_them, remarks=(*context.remarks, *said))


def _earlier(ledger: Ledger, spool: Spool, job: Job, prior: Prior) -> Earlier | None:
    """Read one earlier result; None where its report went meanwhile, or has no date to name it by."""
    assert prior.result_id is not None, "what is used is a result"
    with ledger.read() as tx:
        result = results.find(tx, prior.result_id)
        made_by = None if result is None else jobs.find(tx, result.job_id)
        reports = [made for made in results.objects_of(tx, prior.result_id) if made.output == _REPORT]
    assert result is not None, "rows are never deleted"
    assert made_by is not None, "rows are never deleted"
    assert reports, "what has no report is not used"
    if reports[0].purged_at is not None:
        return None
    day = day_of(_study_date(reports[0], spool))
    if day is None:
        return None
    return Earlier(
        study_uid=prior.study_uid,
        day=day,
        report=_reference(reports[0], prior.study_uid),
        model_version=made_by.model_version,
        same_version=made_by.model_digest == job.model_digest,
        values=_values(result.measurements),
    )


def _study_date(report: ResultObject, spool: Spool) -> str:
    head = BytesIO(spool.head(report.location, report.location.length))
    return str(dcmread(head, specific_tags=["StudyDate"]).get("StudyDate") or "")


def _reference(report: ResultObject, study_uid: str) -> Reference:
    return Reference(
        sop_class_uid=report.sop_class_uid,
        sop_instance_uid=report.sop_instance_uid,
        series_uid=report.series_uid,
        study_uid=study_uid,
        output=report.output,
    )


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str | None, str, str], float]:
    """Return the numbers by label, name and unit, without what is there twice and what was withheld."""
    keyed = [((row["segment"], row["name"], row["unit"]), row["value"]) for row in rows]
    often = Counter(key for key, _ in keyed)
    return {key: float(value) for key, value in keyed if value is not None and often[key] == 1}
