"""What came and what was done in each hour: counted once from the rows, and kept as numbers.

Promises: an hour is counted from all of its rows, and counting it twice gives the same.
Never: keeps a name; a modality that is on no list of PS3.3 counts as "OTHER".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from appliance.core.words import JobState, Outcome
from appliance.ledger.engine import Tx
from appliance.ledger.tables import arrival_hours, events, instances, job_inputs, jobs, results, series
from appliance.ledger.tables import work_hours as work

HOUR_SECONDS: Final = 3600
# PS3.3 C.7.3.1.1.1: the terms of images, which a scanner sends.
# fmt: off
MODALITIES: Final = frozenset({
    "BI", "CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OPT", "PT",
    "PX", "RF", "RG", "SM", "US", "XA", "XC",
})
# fmt: on
OTHER: Final = "OTHER"
_COUNTED: Final = ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One job that came to an end.

    Attributes:
        turnaround_seconds: from the last image that it used to its result; none for a run that a person
            asked for later.
        inference_seconds: inside the engine; none where the model did not run.
    """

    model_digest: str
    state: JobState
    word: str | None
    outcome: Outcome
    engine: str
    stepped_down: bool
    turnaround_seconds: float | None
    inference_seconds: float | None


def modality_of(text: object) -> str:
    """Return a modality as it may be counted and shown."""
    return text if isinstance(text, str) and text in MODALITIES else OTHER


def arrived(tx: Tx, begin: float, end: float) -> list[tuple[float, str | None]]:
    """Return when each series of a time began to come, and its modality; none while that is not known."""
    query = sa.select(series.c.first_at, series.c.facts["Modality"].as_string().label("modality"))
    rows = tx.execute(query.where(series.c.first_at >= begin, series.c.first_at < end))
    return [(row.first_at, None if row.modality is None else modality_of(row.modality)) for row in rows]


def count_arrivals(tx: Tx, first: int, last: int) -> None:
    """Count the series of the hours from `first` to `last`, both included."""
    counted: dict[int, Counter[str]] = {hour: Counter() for hour in range(first, last + 1)}
    for at, modality in arrived(tx, first * HOUR_SECONDS, (last + 1) * HOUR_SECONDS):
        counted[int(at // HOUR_SECONDS)][modality or OTHER] += 1
    within = (arrival_hours.c.hour >= first, arrival_hours.c.hour <= last)
    tx.execute(sa.delete(arrival_hours).where(*within))
    rows = [
        {"hour": hour, "modality": modality, "series": count}
        for hour, found in counted.items()
        for modality, count in (*found.items(), (_COUNTED, found.total()))
    ]
    tx.execute(arrival_hours.insert(), rows)


def counted_until(tx: Tx) -> int | None:
    """Return the last hour whose arrivals were counted."""
    last: int | None = tx.execute(sa.select(sa.func.max(arrival_hours.c.hour))).scalar_one()
    return last


def arrivals_since(tx: Tx, hour: int) -> dict[str, dict[int, int]]:
    """Return how many series came by modality and hour; the hours that were counted are those of ""."""
    found: dict[str, dict[int, int]] = {}
    for row in tx.execute(sa.select(arrival_hours).where(arrival_hours.c.hour >= hour)):
        found.setdefault(row.modality, {})[row.hour] = row.series
    return found


def forget_arrivals(tx: Tx, *, before: int) -> None:
    """Drop the counts of hours that nothing is learned from any more."""
    tx.execute(sa.delete(arrival_hours).where(arrival_hours.c.hour < before))


def uncount(tx: Tx, *, after: int) -> None:
    """Take back that hours were counted which a clock that was wrong took for past."""
    tx.execute(sa.delete(arrival_hours).where(arrival_hours.c.hour > after))
    tx.execute(sa.delete(work).where(work.c.hour > after))


def answers(tx: Tx, digest: str, count: int) -> list[Outcome]:
    """Return what a package's last inferences came to, the newest first."""
    said = (Outcome.FINDING, Outcome.NO_FINDING)
    query = sa.select(results.c.outcome).join(jobs, jobs.c.id == results.c.job_id)
    query = query.where(jobs.c.model_digest == digest, results.c.outcome.in_(said))
    return [Outcome(one) for one in tx.execute(query.order_by(results.c.id.desc()).limit(count)).scalars()]


def ended(tx: Tx, begin: float, end: float) -> list[Ended]:
    """Return the jobs that came to a result in a time, in epoch seconds."""
    last_image = (
        sa.select(sa.func.max(instances.c.received_at))
        .join(job_inputs, job_inputs.c.instance_id == instances.c.id)
        .where(job_inputs.c.job_id == jobs.c.id)
        .scalar_subquery()
    )
    query = (
        sa.select(
            jobs.c.model_digest,
            jobs.c.state,
            jobs.c.word,
            jobs.c.run,
            results.c.outcome,
            results.c.engine,
            results.c.stepped_down,
            results.c.seconds,
            results.c.created_at,
            last_image.label("last_image"),
        )
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(results.c.created_at >= begin, results.c.created_at < end)
        .order_by(results.c.id)
    )
    return [_ended(row) for row in tx.execute(query)]


def put_work(tx: Tx, hour: int, numbers: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what each package did in an hour, in the place of what was kept of it before."""
    tx.execute(sa.delete(work).where(work.c.hour == hour))
    for digest, counted in numbers.items():
        tx.execute(work.insert().values(hour=hour, model_digest=digest, numbers=dict(counted)))


def work_of(tx: Tx, hour: int) -> dict[str, Mapping[str, Any]]:
    """Return what each package did in an hour, by its digest."""
    query = sa.select(work.c.model_digest, work.c.numbers).where(work.c.hour == hour)
    return {row.model_digest: row.numbers for row in tx.execute(query)}


def work_since(tx: Tx, digest: str, hour: int) -> list[Mapping[str, Any]]:
    """Return what a package did in each hour since one."""
    query = sa.select(work.c.numbers).where(work.c.model_digest == digest, work.c.hour >= hour)
    return list(tx.execute(query.order_by(work.c.hour)).scalars())


def happened(tx: Tx, words: Sequence[str], begin: float, end: float) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the events of some words in a time, each with its detail."""
    query = sa.select(events.c.word, events.c.detail)
    within = (events.c.at >= begin, events.c.at < end, events.c.word.in_(words))
    return [(row.word, row.detail) for row in tx.execute(query.where(*within))]


def _ended(row: Any) -> Ended:
    turnaround = None
    if row.run == 1 and row.last_image is not None:
        turnaround = max(0.0, row.created_at - row.last_image)
    return Ended(
        model_digest=row.model_digest,
        state=JobState(row.state),
        word=row.word,
        outcome=Outcome(row.outcome),
        engine=row.engine,
        stepped_down=row.stepped_down is not None,
        turnaround_seconds=turnaround,
        inference_seconds=row.seconds.get("inference"),
    )
