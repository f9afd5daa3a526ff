"""A study as people name it: patient, accession, what was made when. Only pages that need a log-in use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.console.text import date, one_line, person
from appliance.console.wording import STUDY_STATES, Tone
from appliance.core.words import DeliveryState, InstanceState, JobState, StudyState
from appliance.ledger.reading import StudyLine

_IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyDescription",
)


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What a list or a page shows of a study; every text is one line and bounded, none is escaped yet."""

    study_uid: str
    name: str
    patient_id: str
    birth_date: str
    sex: str
    accession: str
    study_date: str
    description: str
    modalities: Sequence[str]
    series: int
    instances: int
    stage: str
    tone: Tone


def heading(line: StudyLine) -> Heading:
    """Name a study by what its first images say."""
    facts = {key: _first(line.heads, key) for key in (*_IDENTITY, "StudyDate")}
    stage, tone = stage_of(line)
    return Heading(
        study_uid=line.study.study_uid,
        name=person(facts["PatientName"]),
        patient_id=one_line(facts["PatientID"]),
        birth_date=date(facts["PatientBirthDate"]),
        sex=one_line(facts["PatientSex"], chars_max=4),
        accession=one_line(facts["AccessionNumber"]),
        study_date=date(facts["StudyDate"]),
        description=one_line(facts["StudyDescription"]),
        modalities=sorted({one_line(h["Modality"], chars_max=16) for h in line.heads if h.get("Modality")}),
        series=len(line.heads),
        instances=line.instances.get(InstanceState.STUDY, 0),
        stage=stage,
        tone=tone,
    )


def _first(heads: Sequence[Mapping[str, Any]], keyword: str) -> Any:
    return next((head[keyword] for head in heads if head.get(keyword)), None)


def stage_of(line: StudyLine) -> tuple[str, Tone]:
    """Say in a word or two where a study stands, the worst first."""
    states = {route.state for route in line.routes}
    if line.study.state is StudyState.HELD:
        return STUDY_STATES[StudyState.HELD]
    if line.deliveries.get(DeliveryState.DEAD):
        return ("not delivered", Tone.BAD)
    if states & {JobState.FAILED, JobState.HELD}:
        return ("failed", Tone.BAD)
    if line.study.state in (StudyState.GATHERING, StudyState.READY):
        return STUDY_STATES[line.study.state]
    return _busy(line, states) or _ended(line)


def _busy(line: StudyLine, states: set[JobState]) -> tuple[str, Tone] | None:
    if JobState.LEASED in states:
        return ("running", Tone.BUSY)
    if JobState.WAITING in states:
        return ("waiting", Tone.BUSY)
    if line.deliveries.get(DeliveryState.LATER):
        return ("sent later", Tone.WARN)
    unsent = line.deliveries.keys() & {DeliveryState.PENDING, DeliveryState.SENDING}
    return ("sending", Tone.BUSY) if unsent else None


def _ended(line: StudyLine) -> tuple[str, Tone]:
    if not line.routes:
        return ("nothing to run", Tone.PLAIN)
    there = line.deliveries.keys() & {DeliveryState.ACCEPTED, DeliveryState.COMMITTED}
    return ("delivered", Tone.GOOD) if there else ("done", Tone.PLAIN)
