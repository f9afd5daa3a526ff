"""One look at the box: what the ledger, the machine and the clocks say, before anything is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.words import DeliveryState, JobState
from appliance.health.census import HOUR
from appliance.health.codes import EngineCode, Refused, Rejected, engine_of, refused_of
from appliance.health.fields import few, tally_of
from appliance.health.kinds import AGE_MINUTES
from appliance.health.limits import LookLimits
from appliance.ledger import counts, hours, reading, services
from appliance.ledger.engine import Tx

_MODELS_MAX: Final = 64
_REFUSED: Final = "receive.refused"
# Words of the timeline for associations that were turned away (PS3.8 9.3.4).
_REJECTED: Final = {
    "tls.refused": Rejected.TLS,
    "roster.identity_mismatch": Rejected.CERTIFICATE,
    "roster.user_refused": Rejected.OTHER,
    "node.refused_ae": Rejected.CALLING_AE,
    "node.full": Rejected.TOO_MANY,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one moment; ages and times in seconds.

    Attributes:
        machine: of the kernel and the GPU, by the names of MACHINE.
        engines: by digest, the model's name, its newest engine, and whether a better one was given up.
        waiting: by peer, how many objects wait and how long the oldest has.
        silent: services that were not heard of.
        days_left: until something ends: "certificate ..." and "list ..." by what it is.
    """

    at: float
    counted: counts.Counts
    job_age: float | None
    waiting: Mapping[str, tuple[int, float]]
    refused: Mapping[Refused, int]
    rejected: Mapping[Rejected, int]
    engines: Mapping[str, tuple[str, EngineCode, bool]]
    silent: tuple[str, ...]
    machine: Mapping[str, Any] = field(default_factory=dict)
    clock_offset: float | None = None
    certificates: Mapping[str, float] = field(default_factory=dict)
    lists: Mapping[str, float] = field(default_factory=dict)


def look(tx: Tx, now: float, *, limits: LookLimits, **other: Any) -> Look:
    """Read the ledger; `other` is what was read elsewhere."""
    oldest_job = reading.oldest_waiting_job_at(tx)
    begin = (now // HOUR - 1) * HOUR
    happened = hours.happened(tx, [_REFUSED, *_REJECTED], begin, begin + HOUR)
    refused = Counter(refused_of(detail.get("status")) for word, detail in happened if word == _REFUSED)
    rejected = Counter(_REJECTED[word] for word, _ in happened if word in _REJECTED)
    return Look(
        at=now,
        counted=counts.count(tx),
        job_age=None if oldest_job is None else max(0.0, now - oldest_job),
        waiting=_waiting(tx, now),
        refused=refused,
        rejected=rejected,
        engines={
            use.digest: (use.name, engine_of(use.engine), use.stepped_down is not None)
            for use in reading.models_used(tx, limit=_MODELS_MAX)
            if use.engine is not None
        },
        silent=tuple(one.name for one in services.everyone(tx) if now - one.beat_at > limits.silent_seconds),
        **other,
    )


def machine_values(seen: Look) -> dict[str, Any]:
    """Return what of a look may leave the site in a MACHINE record, alarms and losses apart."""
    jobs, sends = seen.counted.jobs, seen.counted.deliveries
    waiting = sum(count for count, _ in seen.waiting.values())
    newest = next(iter(seen.engines.values()), None)
    values: dict[str, Any] = {
        **seen.machine,
        "jobs_waiting": few(jobs.get(JobState.WAITING, 0)),
        "jobs_age": age_step(seen.job_age or 0.0),
        "jobs_held": few(jobs.get(JobState.HELD, 0)),
        "sends_waiting": few(waiting),
        "sends_age": age_step(max((age for _, age in seen.waiting.values()), default=0.0)),
        "sends_dead": few(sends.get(DeliveryState.DEAD, 0)),
        "quarantined": few(seen.counted.quarantined),
        "refused": tally_of(Refused, seen.refused),
        "rejected": tally_of(Rejected, seen.rejected),
        "balance": seen.counted.balance,
        "silent": len(seen.silent),
        "engine": EngineCode.NONE if newest is None else newest[1],
        "stepped_down": any(stepped for _, _, stepped in seen.engines.values()),
    }
    if seen.clock_offset is not None:
        values["clock_offset"] = round(seen.clock_offset, 1)
    if seen.certificates:
        values["certificate_days"] = int(min(seen.certificates.values()))
    if seen.lists:
        values["metadata_days"] = int(min(seen.lists.values()))
    return values


def age_step(seconds: float) -> int:
    """Return in which step of `AGE_MINUTES` an age is."""
    return sum(seconds >= 60 * edge for edge in AGE_MINUTES)


def version_number(text: str) -> int | None:
    """Return a version as one number, 1002003 for 1.2.3; none for one that is not written so."""
    parts = text.split(".")[:3]
    if len(parts) < 3 or not all(part.isdigit() and int(part) < 1000 for part in parts):
        return None
    major, minor, patch = map(int, parts)
    return major * 1_000_000 + minor * 1_000 + patch


def _waiting(tx: Tx, now: float) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for one in reading.waiting_deliveries(tx, before=now):
        count, age = found.get(one.peer, (0, 0.0))
        found[one.peer] = (count + one.count, max(age, now - one.oldest_at))
    return found
