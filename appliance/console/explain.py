"""Why a model ran on a study or did not, in plain sentences; `readside why` and the study page show the same.

Promises: every route, series, run and destination that the ledger knows of has its sentence;
what was set aside, given up or held is said too. A failure is never written like a negative (P8).
Never: writes a patient's name or identity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from appliance.console import announcing, comparing
from appliance.console.text import counted, moment, one_line
from appliance.console.wording import DELIVERY_STATES, OUTCOMES, Tone, refusal, status, tell
from appliance.console.worklist import sentence as workitem_sentence
from appliance.core.words import DeliveryState, InstanceState, JobState, Outcome, StudyState, Verdict
from appliance.ledger import (
    announced,
    controls,
    decisions,
    deliveries,
    events,
    jobs,
    passages,
    priors,
    reading,
    results,
    workitems,
)
from appliance.ledger.announced import Announced
from appliance.ledger.deliveries import BY_FALLBACK
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.studies import Study

_TOLD_ELSEWHERE = ("job.", "courier.", "route.", "console.", "assemble.", "worklist.")


@dataclass(frozen=True, kw_only=True)
class RunExplained:
    """One run of a job: how it stands, what it came to, what it is compared with, where that went."""

    job_id: int
    state: JobState
    sentence: str
    outcome: Outcome | None
    result: str
    superseded: bool
    priors: Sequence[str]
    deliveries: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RouteExplained:
    """One decision about one content of the study; `current` unless images came later."""

    route: str
    verdict: Verdict
    reason: str
    current: bool
    series: Sequence[decisions.SeriesSentence]
    runs: Sequence[RunExplained]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything the box can say about one study without naming the patient."""

    study_uid: str
    state: StudyState
    standing: str
    notes: Sequence[str]
    routes: Sequence[RouteExplained]

    def lines(self) -> list[str]:
        """Return the explanation as lines of text, indented by two spaces a level."""
        return [self.standing, *self.notes, *(line for route in self.routes for line in _route_lines(route))]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON would write it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the ledger holds about one study, read in one transaction."""

    study: Study
    places: Mapping[str, int]
    decisions: Sequence[decisions.Decision]
    jobs: Sequence[jobs.Job]
    results: Mapping[int, results.Result]
    superseded: frozenset[int]
    objects: Mapping[int, int]
    deliveries: Sequence[deliveries.Delivery]
    events: Sequence[events.Event]
    releases: Sequence[passages.Passage]
    controls: Sequence[controls.Control]
    announced: Announced
    asks: Mapping[int, priors.Ask]
    priors: Mapping[int, Sequence[str]]
    workitems: Sequence[workitems.Item]


def why(ledger: Ledger, study_uid: str) -> Explanation | None:
    """Explain a study; nothing if no image of it was ever kept."""
    with ledger.read() as tx:
        known = _read(tx, study_uid, at=ledger.clock.now())
    return None if known is None else _explain(known)


def _read(tx: Tx, study_uid: str, *, at: float) -> _Known | None:
    line = reading.line(tx, study_uid)
    if line is None:
        return None
    made, asks = results.of_study(tx, study_uid), priors.of_study(tx, study_uid)
    return _Known(
        study=line.study,
        places=line.instances,
        decisions=decisions.of_study(tx, study_uid),
        jobs=jobs.of_study(tx, study_uid),
        results={result.job_id: result for result in made},
        superseded=frozenset(r.supersedes_id for r in made if r.supersedes_id is not None),
        objects={item.id: result.id for result in made for item in results.objects_of(tx, result.id)},
        deliveries=deliveries.of_study(tx, study_uid),
        events=events.of_study(tx, study_uid),
        releases=passages.under_way(tx),
        controls=controls.everything(tx, at=at),
        announced=announced.about(tx, study_uid),
        asks=asks,
        priors={job_id: comparing.sentences(tx, ask) for job_id, ask in asks.items()},
        workitems=workitems.of_study(tx, study_uid),
    )


def _explain(known: _Known) -> Explanation:
    return Explanation(
        study_uid=known.study.study_uid,
        state=known.study.state,
        standing=_standing(known),
        notes=_notes(known),
        routes=[_route(known, decision) for decision in _newest_content_first(known.decisions)],
    )


def _newest_content_first(taken: Sequence[decisions.Decision]) -> list[decisions.Decision]:
    newest = {decision.content_digest: at for at, decision in enumerate(taken)}
    return sorted(taken, key=lambda decision: -newest[decision.content_digest])


def _waits_for_a_person(known: _Known) -> bool:
    newest = {job.route: job for job in known.jobs}
    failed = any(job.state in (JobState.FAILED, JobState.HELD) for job in newest.values())
    return failed or any(delivery.state is DeliveryState.DEAD for delivery in known.deliveries)


def _standing(known: _Known) -> str:
    study, images = known.study, counted(known.places.get(InstanceState.STUDY, 0), "image")
    if study.state is StudyState.HELD:
        held = f"Held with {images}: {_clause(study.reason)}."
        return f"{held} Nothing is decided or sent until a person releases it."
    if study.state is StudyState.GATHERING:
        lacking = announcing.incomplete(known.announced)
        return f"Still receiving: {images} so far, the last at {moment(study.last_at)}{lacking}."
    if study.state is StudyState.READY:
        return f"Complete with {images} ({_clause(study.reason)}); the routes are about to decide."
    if not any(d.content_digest == study.content_digest for d in known.decisions):
        return f"Complete with {images}, but no route is configured: nothing ran, and that is not a negative."
    if _waits_for_a_person(known):
        return f"Complete with {images} ({_clause(study.reason)}); something of it waits for a person."
    if study.state is StudyState.DECIDED:
        return f"Complete with {images} ({_clause(study.reason)}); its work or deliveries are under way."
    return f"Complete with {images} ({_clause(study.reason)}); all work and all deliveries have ended."


def _clause(reason: str | None) -> str:
    return one_line(reason, chars_max=300).rstrip(".") or "no reason was recorded"


def _notes(known: _Known) -> list[str]:
    study, notes = known.study, []
    if study.asked_count is not None:
        notes.append(
            f"The peer that was asked says the study has {counted(study.asked_count, 'image')}; "
            f"{study.asked_kept} were here at {moment(study.asked_at)}."
        )
    notes += announcing.sentences(study, known.announced)
    aside = known.places.get(InstanceState.QUARANTINED, 0)
    if aside:
        notes.append(f"{counted(aside, 'image')} set aside (quarantined): no model sees them.")
    gone = known.places.get(InstanceState.PURGED, 0)
    if gone:
        notes.append(f"{counted(gone, 'image')} removed after the time of keeping; they can be sent again.")
    notes += [workitem_sentence(item) for item in known.workitems]
    return [*notes, *_of_releases(known), *_told(known.events)]


def _of_releases(known: _Known) -> list[str]:
    """Say why another version than the one that ran does not serve, where a registry assigned one."""
    used = {job.model_name for job in known.jobs}
    notes = [
        f"{passage.name} {passage.version} is assigned to this box: {passage.sentence}."
        for passage in known.releases
        if passage.name in used and passage.sentence
    ]
    for control in known.controls:
        if control.model in ("", *used):
            kept = f"kept at {control.version}" if control.version else "held"
            until = moment(control.until_at)
            name = control.model or "every model"
            notes.append(f"Now {name} is {kept} until {until} by {control.placed_by}: {control.reason}.")
    return notes


def _told(happened: Sequence[events.Event]) -> list[str]:
    """Say what went wrong with images; equal sentences once, with their number."""
    loud = (Tone.WARN, Tone.BAD)
    told = [tell(event) for event in happened if not _told_elsewhere(event)]
    tally = Counter(sentence for sentence, tone in told if tone in loud)
    return [sentence if count == 1 else f"{sentence} ({count} times)" for sentence, count in tally.items()]


def _told_elsewhere(event: events.Event) -> bool:
    return event.word.startswith(_TOLD_ELSEWHERE) or "job" in event.detail or "delivery" in event.detail


def _route(known: _Known, decision: decisions.Decision) -> RouteExplained:
    return RouteExplained(
        route=decision.route,
        verdict=decision.verdict,
        reason=decision.reason,
        current=decision.content_digest == known.study.content_digest,
        series=decision.series,
        runs=[_run(known, job) for job in _runs(known, decision)],
    )


def _runs(known: _Known, decision: decisions.Decision) -> list[jobs.Job]:
    """Return the decision's job and every later run of the same work that a person asked for."""
    first = next((job for job in known.jobs if job.id == decision.job_id), None)
    if first is None:
        return []
    work = (first.route, first.input_digest, first.model_digest)
    return [job for job in known.jobs if (job.route, job.input_digest, job.model_digest) == work]


def _run(known: _Known, job: jobs.Job) -> RunExplained:
    result = known.results.get(job.id)
    mine = (
        [] if result is None else [d for d in known.deliveries if known.objects.get(d.object_id) == result.id]
    )
    return RunExplained(
        job_id=job.id,
        state=job.state,
        sentence=_job_sentence(job, comparing.waits(known.asks.get(job.id))),
        outcome=None if result is None else result.outcome,
        result="" if result is None else result_sentence(result),
        superseded=result is not None and result.id in known.superseded,
        priors=known.priors.get(job.id, ()),
        deliveries=[] if result is None else _sent(known, result, mine, job.mode),
    )


def _job_sentence(job: jobs.Job, awaited: str) -> str:
    model = f"Job {job.id} ({job.model_name} {job.model_version}, run {job.run})"
    if job.state is JobState.WAITING:
        again = f"; it is tried again after {moment(job.not_before)} because {_clause(job.reason)}"
        return f"{model} waits for {awaited or 'a worker'}{again if job.attempts else ''}."
    if job.state is JobState.LEASED:
        return f"{model} is running, attempt {job.attempts}."
    if job.state is JobState.DONE and job.refusal is not None:
        return f"{model} did not run the model: {_clause(job.refusal)}."
    if job.state is JobState.DONE:
        return f"{model} is done."
    return f"{model} {'failed' if job.state is JobState.FAILED else 'is held'}: {_clause(job.reason)}."


def result_sentence(result: results.Result) -> str:
    """Say what a result says; one that is no inference begins with "Not analysed" (P8)."""
    label = OUTCOMES[result.outcome]
    lead = label.meaning if label.meaning.startswith("Not analysed") else f"Result: {label.text}."
    stepped = f" The engine stepped down: {_clause(result.stepped_down)}." if result.stepped_down else ""
    return f"{lead} {one_line(result.statement, chars_max=600)}{stepped}".strip()


def _sent(known: _Known, result: results.Result, mine: Sequence[deliveries.Delivery], mode: str) -> list[str]:
    if result.id not in known.objects.values():
        return ["No object was written for this run, so nothing is sent."]
    return _delivery_sentences(mine, mode)


def _delivery_sentences(sent: Sequence[deliveries.Delivery], mode: str) -> list[str]:
    if not sent and mode == "shadow":
        return ["The route is in shadow: its results are kept here and sent to nobody."]
    if not sent and mode == priors.MODE:
        return ["The study was fetched to be compared with: its result is kept here and sent to nobody."]
    if not sent:
        return ["No destination takes these results: they are kept here."]
    groups: dict[tuple[str, DeliveryState, str | None], list[deliveries.Delivery]] = {}
    for delivery in sent:
        groups.setdefault((delivery.peer, delivery.state, delivery.settled_by), []).append(delivery)
    return [_delivery_sentence(peer, state, group) for (peer, state, _), group in groups.items()]


def _delivery_sentence(peer: str, state: DeliveryState, group: Sequence[deliveries.Delivery]) -> str:
    last = max(group, key=lambda delivery: delivery.attempts)
    said = f"{peer}: {counted(len(group), 'object')} {DELIVERY_STATES[state][0]}"
    if state is DeliveryState.LATER:
        tries = counted(last.attempts, "attempt")
        return f"{said}, next at {moment(last.due_at)}; {status(last.status)} after {tries}."
    if state is DeliveryState.DEAD:
        return f"{said} ({refusal(last.status, last.word)}); a person must send again or settle."
    if state is DeliveryState.SETTLED:
        by = (
            "not taken there, another goes in its place"
            if last.settled_by == BY_FALLBACK
            else last.settled_by
        )
        return f"{said} ({by})."
    return f"{said}."


def _route_lines(route: RouteExplained) -> list[str]:
    earlier = "" if route.current else " (about an earlier content of the study)"
    lines = [f"Route {route.route}{earlier}: {route.verdict.value}. {route.reason}"]
    lines += [f"  {series_name(s)}: {s.sentence}" for s in route.series]
    for run in route.runs:
        lines.append(f"  {run.sentence}")
        gone = " It was superseded by a later result." if run.superseded else ""
        lines += [f"    {sentence}" for sentence in run.priors]
        lines += [f"    {run.result}{gone}"] if run.result else []
        lines += [f"    {sentence}" for sentence in run.deliveries]
    return lines


def series_name(series: decisions.SeriesSentence) -> str:
    """Name a series as people do: its number and its description."""
    number = "Series" if series.number is None else f"Series {series.number}"
    return f'{number} "{one_line(series.description)}"' if series.description else number
