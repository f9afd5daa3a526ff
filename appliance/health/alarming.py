"""What is wrong, out of one look at the box and what it learned: pure, but for reading what is learned from.

Promises: an alarm that is wanted in one look and not in the next ends by itself; each is about one thing.
Never: raises one for what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo

from appliance.core.alarming import AlarmKind
from appliance.core.words import Outcome
from appliance.health.absence import barren, silence
from appliance.health.codes import Gpu
from appliance.health.limits import LookLimits
from appliance.health.look import Look
from appliance.ledger import hours
from appliance.ledger.alarms import Alarm
from appliance.ledger.engine import Tx

_HOUR = hours.HOUR_SECONDS


def wrong(seen: Look, limits: LookLimits) -> list[Alarm]:
    """Return what is wrong by the look alone."""
    return [*_ending(seen, limits), *_stuck(seen, limits), *_machine(seen, limits)]


def absent(tx: Tx, now: float, *, zone: tzinfo, limits: LookLimits) -> list[Alarm]:
    """Return the modalities that do not come although they always did."""
    first = int(now // _HOUR) - limits.hours_kept
    by_modality = hours.arrivals_since(tx, first)
    counted = set(by_modality.pop("", {}))
    # What came since the last hour that was counted; a series of no known modality might be any.
    begun = max(counted, default=first) + 1
    recent: dict[str | None, dict[int, int]] = {}
    for at, modality in hours.arrived(tx, begun * _HOUR, now + 1):
        recent.setdefault(modality, {})[int(at // _HOUR)] = 1
    counted |= set(range(begun, int(now // _HOUR)))
    found = []
    for modality, counts in by_modality.items():
        known = counts | recent.get(modality, {}) | recent.get(None, {})
        if modality != hours.OTHER and (quiet := silence(known, counted, now=now, zone=zone)):
            numbers = {"since": quiet.since, "least": float(quiet.least), "weeks": float(quiet.weeks)}
            found.append(_alarm(AlarmKind.NO_ARRIVALS, modality, **numbers))
    return found


def finding_nothing(tx: Tx, models: Mapping[str, str], limits: LookLimits) -> list[Alarm]:
    """Return the models that stopped finding anything; `models` are names by digest."""
    found = []
    for digest, name in models.items():
        answers = [one is Outcome.FINDING for one in hours.answers(tx, digest, limits.answers_max)]
        if none := barren(answers):
            # In steps: an alarm whose numbers change with every study would be written each minute.
            numbers = {"answers": float(none.answers // 10 * 10), "percent": round(100 * none.share, 1)}
            found.append(_alarm(AlarmKind.NO_FINDINGS, name, **numbers))
    return found


def _ending(seen: Look, limits: LookLimits) -> Iterator[Alarm]:
    kinds = (
        (AlarmKind.CERTIFICATE_ENDS, seen.certificates, limits.certificate_days),
        (AlarmKind.METADATA_ENDS, seen.lists, limits.metadata_days),
    )
    for kind, ends, least in kinds:
        for subject, days in ends.items():
            if days < least:
                yield _alarm(kind, subject, days=float(int(days // 1)))


def _stuck(seen: Look, limits: LookLimits) -> Iterator[Alarm]:
    if seen.job_age is not None and seen.job_age > limits.queue_seconds:
        yield _alarm(AlarmKind.QUEUE_OLD, "", minutes=float(seen.job_age // 600 * 10))
    for peer, (count, age) in seen.waiting.items():
        if age > limits.delivery_seconds:
            yield _alarm(AlarmKind.NOT_DELIVERED, peer, objects=float(count), hours=float(age // _HOUR))
    for service in seen.silent:
        yield _alarm(AlarmKind.SERVICE_SILENT, service)
    for name, _, stepped_down in seen.engines.values():
        if stepped_down:
            yield _alarm(AlarmKind.STEPPED_DOWN, name)


def _machine(seen: Look, limits: LookLimits) -> Iterator[Alarm]:
    free = seen.machine.get("disk_free_percent")
    if free is not None and free < limits.disk_percent:
        yield _alarm(AlarmKind.DISK_LOW, "", percent=float(int(free)))
    if seen.machine.get("gpu") == Gpu.NO_ANSWER:
        yield _alarm(AlarmKind.GPU_SILENT, "")
    if seen.clock_offset is not None and abs(seen.clock_offset) > limits.clock_seconds:
        yield _alarm(AlarmKind.CLOCK_OFF, "", seconds=float(round(seen.clock_offset, -1)))


def _alarm(kind: AlarmKind, subject: str, **numbers: float) -> Alarm:
    return Alarm(kind=int(kind), subject=subject, numbers=numbers)
