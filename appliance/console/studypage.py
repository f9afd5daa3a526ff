"""Everything the study page shows, read in a few queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.console.explain import Explanation, why
from appliance.console.heading import Heading, heading
from appliance.console.limits import Limits
from appliance.console.text import counted, number, one_line, unit
from appliance.console.wording import Tone, tell
from appliance.core.words import DeliveryState, InstanceState, JobState, StudyState
from appliance.ledger import assessments, deliveries, events, jobs, reading, results, studies
from appliance.ledger.assessments import Assessment, Judgement
from appliance.ledger.engine import Ledger, Tx

_RUN_AGAIN = (JobState.FAILED, JobState.HELD, JobState.DONE)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One line of the timeline."""

    at: float
    sentence: str
    tone: Tone
    word: str


@dataclass(frozen=True, kw_only=True)
class SeriesRow:
    """One series with what was read and measured of it."""

    number: str
    description: str
    modality: str
    instances: int
    geometry: str
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One row of a measurements table; a value that is missing says why, never nothing."""

    segment: str
    name: str
    value: str
    unit: str
    # Why there is no value, if there is none.
    withheld: str


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What one document of a reader says of a result or of findings of it; `at` in epoch seconds."""

    at: float
    sentence: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class ResultCard:
    """One result with all that belongs to it."""

    result: results.Result
    job: jobs.Job | None
    superseded: bool
    # Images came, or a later job began, since: the result stands, but not for all that is here now.
    outdated: bool
    objects: Sequence[results.ResultObject]
    measured: Sequence[Measured]
    deliveries: Sequence[deliveries.Delivery]
    # The newest first.
    spoken: Sequence[Spoken]


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """The whole page."""

    heading: Heading
    study: studies.Study
    why: Explanation
    series: Sequence[SeriesRow]
    results: Sequence[ResultCard]
    jobs: Sequence[jobs.Job]
    again: frozenset[int]
    dead: Sequence[deliveries.Delivery]
    timeline: Sequence[Moment]
    timeline_left_out: int
    viewers: Sequence[str]
    failing: bool
    held: bool


def collect(ledger: Ledger, study_uid: str, limits: Limits) -> StudyPage | None:
    """Read everything about a study; nothing if no image of it was ever kept."""
    explanation = why(ledger, study_uid)
    if explanation is None:
        return None
    with ledger.read() as tx:
        line = reading.line(tx, study_uid)
        assert line is not None, "rows of studies are never deleted"
        return _page(tx, line, explanation, limits)


def _page(tx: Tx, line: reading.StudyLine, explanation: Explanation, limits: Limits) -> StudyPage:
    uid = line.study.study_uid
    work, sent, happened = jobs.of_study(tx, uid), deliveries.of_study(tx, uid), events.of_study(tx, uid)
    timeline = _timeline(happened, sent)
    return StudyPage(
        heading=heading(line),
        study=line.study,
        why=explanation,
        series=_series(tx, uid),
        results=_cards(tx, line.study, work, sent),
        jobs=list(reversed(work)),
        again=_repeatable(line, work),
        dead=[delivery for delivery in sent if delivery.state is DeliveryState.DEAD],
        timeline=timeline[: limits.timeline_rows_max],
        timeline_left_out=max(0, len(timeline) - limits.timeline_rows_max),
        viewers=_viewers(happened),
        failing=_needs_a_word(line, work, happened),
        held=line.study.state is StudyState.HELD,
    )


def _repeatable(line: reading.StudyLine, work: Sequence[jobs.Job]) -> frozenset[int]:
    """Return the newest job of each piece of work that ended, as long as its images are still here."""
    if not line.instances.get(InstanceState.STUDY):
        return frozenset()
    newest = {(job.route, job.input_digest, job.model_digest): job for job in work}
    return frozenset(job.id for job in newest.values() if job.state in _RUN_AGAIN)


def _needs_a_word(
    line: reading.StudyLine, work: Sequence[jobs.Job], happened: Sequence[events.Event]
) -> bool:
    newest = {route.job_id for route in line.routes if route.state in (JobState.FAILED, JobState.HELD)}
    seen = max((event.at for event in happened if event.word == reading.SEEN), default=0.0)
    return any(job.id in newest and (job.finished_at or 0.0) > seen for job in work)


def _series(tx: Tx, study_uid: str) -> list[SeriesRow]:
    counts, heads = reading.series_counts(tx, study_uid), reading.series_heads(tx, study_uid)
    rows = [
        _series_row(entry, heads.get(entry.series_uid, {}), counts.get(entry.series_uid, 0))
        for entry in studies.series_of(tx, study_uid)
    ]
    return sorted(rows, key=lambda row: (not row.number.isdigit(), row.number.zfill(8)))


def _series_row(series: studies.Series, head: Mapping[str, Any], count: int) -> SeriesRow:
    return SeriesRow(
        number=one_line(head.get("SeriesNumber"), chars_max=12),
        description=one_line(head.get("SeriesDescription")),
        modality=one_line(head.get("Modality"), chars_max=16),
        instances=count,
        geometry=geometry(series.facts or {}),
        complete=series.complete_at is not None,
    )


def geometry(facts: Mapping[str, Any]) -> str:
    """Write what was measured of a series: "axial, 120 slices, 0.80 mm apart, regular"."""
    parts = [one_line(facts.get("orientation"))]
    parts += [counted(facts["slices"], "slice")] if isinstance(facts.get("slices"), int) else []
    spacing = facts.get("slice_spacing_mm")
    parts += [f"{spacing:.2f} mm apart"] if isinstance(spacing, int | float) and spacing else []
    tilt = facts.get("gantry_tilt_degrees")
    parts += [f"gantry tilt {tilt:.1f}°"] if isinstance(tilt, int | float) and abs(tilt) >= 0.05 else []
    if facts.get("regular") is not None:
        parts.append("regular" if facts["regular"] else one_line(facts.get("irregularity") or "not regular"))
    return ", ".join(part for part in parts if part)


def _cards(
    tx: Tx, study: studies.Study, work: Sequence[jobs.Job], sent: Sequence[deliveries.Delivery]
) -> list[ResultCard]:
    made = results.of_study(tx, study.study_uid)
    superseded = {result.supersedes_id for result in made}
    cards = [_card(tx, result, work, sent) for result in reversed(made)]
    return [
        replace(
            card,
            superseded=card.result.id in superseded,
            outdated=is_outdated(study, card.result, work),
        )
        for card in cards
    ]


def is_outdated(study: studies.Study, result: results.Result, work: Sequence[jobs.Job]) -> bool:
    """Say whether images came, or a later job of the route began, since a result was made."""
    newest = max((job.id for job in work if job.route == result.route), default=result.job_id)
    open_again = study.state in (StudyState.GATHERING, StudyState.READY, StudyState.HELD)
    return open_again or result.job_id != newest


def _card(
    tx: Tx, result: results.Result, work: Sequence[jobs.Job], sent: Sequence[deliveries.Delivery]
) -> ResultCard:
    items = results.objects_of(tx, result.id)
    mine = {item.id for item in items}
    return ResultCard(
        result=result,
        job=next((job for job in work if job.id == result.job_id), None),
        superseded=False,
        outdated=False,
        objects=items,
        measured=[_measured(entry) for entry in result.measurements],
        deliveries=[delivery for delivery in sent if delivery.object_id in mine],
        spoken=_spoken(assessments.of_result(tx, result.id)),
    )


def _spoken(said: Sequence[Assessment]) -> list[Spoken]:
    """Write one line for each document: "accepted by a reader", or "1 finding rejected by a reader"."""
    documents: dict[str, list[Assessment]] = {}
    for entry in said:
        documents.setdefault(entry.sop_instance_uid, []).append(entry)
    return [
        Spoken(
            at=entries[0].assessed_at,
            sentence=f"{assessments.summary(entries)} by a reader",
            tone=_heard(entries),
        )
        for entries in reversed(documents.values())
    ]


def _heard(entries: Sequence[Assessment]) -> Tone:
    accepted = all(entry.judgement is Judgement.ACCEPTED for entry in entries)
    return Tone.GOOD if accepted else Tone.WARN


def _measured(entry: Mapping[str, Any]) -> Measured:
    missing = entry.get("value") is None
    return Measured(
        segment=one_line(entry.get("segment")) or "whole series",
        name=one_line(entry.get("name")),
        value=number(entry.get("value")),
        unit=unit(entry.get("unit")),
        withheld=one_line(entry.get("withheld") or "no value was given", chars_max=200) if missing else "",
    )


def _timeline(happened: Sequence[events.Event], sent: Sequence[deliveries.Delivery]) -> list[Moment]:
    """Return what happened, newest first; looks are shown elsewhere."""
    peers = {delivery.id: delivery.peer for delivery in sent}
    moments = []
    for event in reversed(happened):
        if event.word != "console.viewed":
            sentence, tone = tell(event, peer=peers.get(event.detail.get("delivery", 0)))
            moments.append(Moment(at=event.at, sentence=sentence, tone=tone, word=event.word))
    return moments


def _viewers(happened: Sequence[events.Event]) -> list[str]:
    names = (one_line(event.detail.get("user")) for event in happened if event.word == "console.viewed")
    return list(dict.fromkeys(names))
