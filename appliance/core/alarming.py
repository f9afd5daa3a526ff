"""What a box raises an alarm about, and the sentence for each: for pages, mail and log alike.

Promises: a number keeps its meaning for ever; a sentence is made of numbers and of the box's own names.
Never: holds a name, an identifier or a time of a patient or a study.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from enum import IntEnum


class AlarmKind(IntEnum):
    """What is wrong."""

    NO_ARRIVALS = 1
    NO_FINDINGS = 2
    STEPPED_DOWN = 3
    CERTIFICATE_ENDS = 4
    METADATA_ENDS = 5
    QUEUE_OLD = 6
    DISK_LOW = 7
    CLOCK_OFF = 8
    SERVICE_SILENT = 9
    GPU_SILENT = 10
    NOT_DELIVERED = 11
    DRIFT = 12

    @property
    def word(self) -> str:
        """Return it as a metric and a notice write it."""
        return self.name.lower()


def sentence(kind: int, subject: str, numbers: Mapping[str, float], *, zone: tzinfo = UTC) -> str:
    """Return what is wrong, in one sentence, with times of day in `zone`."""
    said = {name: value for name, value in numbers.items() if isinstance(value, int | float)}

    def of(name: str) -> float:
        return said.get(name, 0.0)

    match kind:
        case AlarmKind.NO_ARRIVALS:
            since = datetime.fromtimestamp(of("since"), tz=zone)
            return (
                f"No {subject} since {since:%A %H:%M}, although at least {of('least'):.0f} came in the same"
                f" hours of each of {of('weeks'):.0f} weeks before."
            )
        case AlarmKind.NO_FINDINGS:
            return (
                f"{subject} has found nothing in its last {of('answers'):.0f} answers, although it used to in"
                f" {of('percent'):.0f} % of them."
            )
        case AlarmKind.STEPPED_DOWN:
            return f"{subject} does not run on the engine it should; what it runs on is slower."
        case AlarmKind.CERTIFICATE_ENDS:
            return f"The certificate for {subject} {_ends(of('days'))}."
        case AlarmKind.METADATA_ENDS:
            return (
                f"The signed list {subject} of the registry {_ends(of('days'))}; then nothing new is taken."
            )
        case AlarmKind.QUEUE_OLD:
            return f"The oldest job has waited for a worker for {of('minutes'):.0f} minutes."
        case AlarmKind.DISK_LOW:
            return f"{of('percent'):.0f} % of the disk is free; below the floor nothing is received."
        case AlarmKind.CLOCK_OFF:
            return f"The box's clock is off by {of('seconds'):.0f} seconds."
        case AlarmKind.SERVICE_SILENT:
            return f"The service {subject} is not heard of."
        case AlarmKind.GPU_SILENT:
            return "The GPU does not answer."
        case AlarmKind.NOT_DELIVERED:
            waits = f"for {of('hours'):.0f} hours"
            return f"{of('objects'):.0f} objects have not been accepted by {subject} {waits}."
        case AlarmKind.DRIFT:
            return f"{subject}: what it is given or answers has moved away from what it was at first."
    return "Something is wrong that this version of Readside has no words for."


def _ends(days: float) -> str:
    if days < 0:
        return "has ended"
    return "ends within a day" if days < 1 else f"ends in {days:.0f} days"
