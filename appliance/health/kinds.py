"""The closed list of what may leave a site: each kind of record and each number in it.

This is the only place where a number is let out. The documentation shows this list, and a test compares them.

Promises: no field is a text; what is not here cannot be encoded, and is refused where it arrives.
Never: changes what a field means; a new meaning is a new field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.core.alarming import AlarmKind
from appliance.core.vendors import Vendor
from appliance.health.codes import EngineCode, Failure, Gpu, Kind, Refused, Rejected
from appliance.health.fields import Choice, Count, Decimal, Field, Flag, Histogram, Tally, Total, Whole

TURNAROUND_SECONDS: Final = (5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)
INFERENCE_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
# An age is told in steps: from how old a queue is to the minute, the minute of an arrival would follow.
AGE_MINUTES: Final = (5, 15, 30, 60, 120, 240, 480, 1440, 2880, 10080)

SPACING_MM: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0)
THICKNESS_MM: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0)
KVP: Final = (50, 70, 80, 90, 100, 110, 120, 130, 140)
ROWS: Final = (128, 256, 384, 512, 768, 1024, 2048, 3072, 4096)
INTENSITY: Final = (-1000, -800, -500, -200, -100, 0, 50, 100, 200, 500, 1000, 2000, 4000)
SCORE: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
VOLUME_ML: Final = (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 500)
POSITIVES: Final = (1, 2, 3, 4, 5, 10, 20)
DIFFERENCE: Final = (-0.5, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5)
RATIO: Final = (0.25, 0.5, 0.8, 0.9, 1.1, 1.25, 2, 4)

_HOUR = Whole(high=2**32 - 1)
_REFERENCE = Whole(high=2**48 - 1)


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One kind of record.

    Attributes:
        says: what it tells, one sentence.
        keep_days: how long a registry keeps it.
        with_drift: whether it goes out at the level "health+drift" only.
    """

    says: str
    keep_days: int
    fields: Mapping[str, Field]
    with_drift: bool = False

    @property
    def levels(self) -> tuple[str, ...]:
        """Return the levels at which it may leave a site."""
        return ("health+drift",) if self.with_drift else ("health", "health+drift")


def _release(purpose: str = "which release: the first 12 hex digits of its package's digest") -> Field:
    return Field(type=_REFERENCE, purpose=purpose, needed=True)


def _hour(purpose: str) -> Field:
    return Field(type=_HOUR, unit="h", purpose=f"{purpose}: hours since 1970, UTC", needed=True)


def _spread(edges: tuple[float, ...], unit: str, purpose: str) -> Field:
    return Field(type=Histogram(edges=edges), unit=unit, purpose=purpose)


STATE: Final = Schema(
    says="How one release stands on the box: the newest one replaces those before it.",
    keep_days=400,
    fields={
        "release": _release(),
        "phase": Field(type=Whole(high=63), purpose="how far it came; a number of appliance.sync.phase"),
        "reason": Field(type=Whole(high=999), purpose="why it stands there; the number of a word"),
        "serving": Field(type=Flag(), purpose="whether it is the one that serves"),
        "engine": Field(type=Choice(of=EngineCode), purpose="which engine computes"),
        "stepped_down": Field(type=Flag(), purpose="whether a better engine was given up"),
        "since": Field(type=_HOUR, unit="h", purpose="since when it serves: hours since 1970, UTC"),
        "studies": Field(type=Total(), purpose="jobs that ended since it serves: evidence for a roll-out"),
        "failures": Field(type=Total(), purpose="of these, jobs that failed or were held"),
        "positives": Field(type=Total(), purpose="of these, jobs with a finding"),
        "turnaround": Field(
            type=Histogram(edges=TURNAROUND_SECONDS, fives=True),
            unit="s",
            purpose="from the last image of a study to its result, of the jobs since it serves",
        ),
    },
)

WORK: Final = Schema(
    says="What one release did in one hour.",
    keep_days=400,
    fields={
        "hour": _hour("which hour"),
        "release": _release(),
        "done": Field(type=Count(), purpose="jobs with an answer"),
        "positives": Field(type=Count(), purpose="of these, with a finding"),
        "negatives": Field(type=Count(), purpose="of these, without a finding"),
        "abstained": Field(type=Count(), purpose="of these, where the model would not say"),
        "not_eligible": Field(type=Count(), purpose="jobs on images that the model does not read"),
        "failed": Field(type=Tally(of=Failure), purpose="jobs that failed, by reason"),
        "held": Field(type=Count(), purpose="jobs that killed their worker and wait for a person"),
        "stepped_down": Field(type=Count(), purpose="answers of a lesser engine than the best"),
        "turnaround": _spread(TURNAROUND_SECONDS, "s", "from the last image of a study to its result"),
        "inference": _spread(INFERENCE_SECONDS, "s", "time inside the engine"),
    },
)

_MEMORY = Whole(high=2**28)
_GPU_BITS = Whole(high=2**63 - 1)
MACHINE: Final = Schema(
    says="How the box as a whole is at one moment.",
    keep_days=90,
    fields={
        "version": Field(type=Whole(high=999_999_999), purpose="of Readside: 1.2.3 is 1002003"),
        "up": Field(type=Whole(high=10**6), unit="h", purpose="since the machine started"),
        "jobs_waiting": Field(type=Count(), purpose="how long the queue is"),
        "jobs_age": Field(type=Whole(high=10), purpose="step of the age of the oldest job that waits"),
        "jobs_held": Field(type=Count(), purpose="jobs that wait for a person"),
        "sends_waiting": Field(type=Count(), purpose="objects not accepted by their destination yet"),
        "sends_age": Field(type=Whole(high=10), purpose="step of the age of the oldest of them"),
        "sends_dead": Field(type=Count(), purpose="objects that a destination refused for good"),
        "quarantined": Field(type=Count(), purpose="images set aside"),
        "refused": Field(type=Tally(of=Refused), purpose="images refused in the last whole hour, by reason"),
        "rejected": Field(
            type=Tally(of=Rejected), purpose="associations rejected in the last whole hour, by reason"
        ),
        "balance": Field(type=Whole(high=10**9), purpose="rows that break a promise; 0 unless work is lost"),
        "silent": Field(type=Whole(high=64), purpose="services that were not heard of"),
        "alarms": Field(type=Whole(high=2**32 - 1), purpose="which alarms are up: bit n is alarm n"),
        "disk_free": Field(type=_MEMORY, unit="MiB", purpose="room for images"),
        "disk_free_percent": Field(type=Decimal(low=0, high=100), unit="%", purpose="the same, of all"),
        "memory_free": Field(type=_MEMORY, unit="MiB", purpose="memory that could be had"),
        "memory_total": Field(type=_MEMORY, unit="MiB", purpose="memory of the machine"),
        "load": Field(type=Decimal(low=0, high=100_000), purpose="mean of one minute, as the kernel has it"),
        "temperature": Field(
            type=Decimal(low=-50, high=200), unit="degC", purpose="the hottest sensor of the machine"
        ),
        "clock_offset": Field(
            type=Decimal(low=-1e10, high=1e10), unit="s", purpose="the box's clock less the registry's"
        ),
        "certificate_days": Field(
            type=Whole(low=-36_500, high=36_500), unit="d", purpose="until the first certificate ends"
        ),
        "metadata_days": Field(
            type=Whole(low=-36_500, high=36_500), unit="d", purpose="until the first signed list ends"
        ),
        "engine": Field(type=Choice(of=EngineCode), purpose="the engine of the last answer"),
        "stepped_down": Field(type=Flag(), purpose="whether a release gave up a better engine"),
        "gpu": Field(type=Choice(of=Gpu), purpose="whether the GPU answers"),
        "gpu_temperature": Field(type=Decimal(low=-50, high=200), unit="degC", purpose="of the GPU"),
        "gpu_power": Field(type=Decimal(low=0, high=10_000), unit="W", purpose="that the GPU draws"),
        "gpu_busy": Field(type=Decimal(low=0, high=100), unit="%", purpose="of the last second"),
        "gpu_clock": Field(type=Whole(high=100_000), unit="MHz", purpose="of its processors"),
        "gpu_memory_used": Field(type=_MEMORY, unit="MiB", purpose="of the GPU"),
        "gpu_memory_total": Field(type=_MEMORY, unit="MiB", purpose="of the GPU"),
        "gpu_throttle": Field(type=_GPU_BITS, purpose="why its clock is held down, bits as NVML has them"),
        "gpu_ecc_corrected": Field(type=_GPU_BITS, purpose="memory errors put right since it was started"),
        "gpu_ecc_lost": Field(type=_GPU_BITS, purpose="memory errors not put right since it was started"),
        "gpu_link_width": Field(type=Whole(high=64), purpose="lanes of its bus in use"),
        "gpu_link_generation": Field(type=Whole(high=16), purpose="generation of its bus in use"),
        "lost": Field(type=_GPU_BITS, purpose="records given up unsent for want of room or for age"),
        "unfit": Field(type=_GPU_BITS, purpose="values left out because this list does not hold them"),
    },
)

_DRIFT = Decimal(low=0, high=10_000)


def _drift(name: str) -> dict[str, Field]:
    return {
        f"{name}_shift": Field(
            type=_DRIFT, purpose=f"{name}: the test's statistic over its limit; above 1 it moved"
        ),
        f"{name}_size": Field(type=_DRIFT, purpose=f"{name}: how far it moved, as a stability index"),
        f"{name}_windows": Field(type=Whole(high=1000), purpose=f"{name}: windows in a row that moved"),
    }


SPREADS: Final[Mapping[str, tuple[float, ...]]] = {
    "spacing": SPACING_MM,
    "thickness": THICKNESS_MM,
    "kvp": KVP,
    "rows": ROWS,
    "low": INTENSITY,
    "middle": INTENSITY,
    "high": INTENSITY,
    "score": SCORE,
    "volume": VOLUME_ML,
    "positives": POSITIVES,
}

INPUT: Final = Schema(
    says="What one release was given on one day by the scanners of one maker, and what it answered.",
    keep_days=400,
    with_drift=True,
    fields={
        "day": Field(type=_HOUR, unit="d", purpose="which day: days since 1970, UTC", needed=True),
        "release": _release(),
        "vendor": Field(type=Choice(of=Vendor), purpose="who made the scanners", needed=True),
        "studies": Field(type=Count(), purpose="how many answers this rests on"),
        "spacing": _spread(SPACING_MM, "mm", "distance of the pixels"),
        "thickness": _spread(THICKNESS_MM, "mm", "of the slices"),
        "kvp": _spread(KVP, "kV", "of the X-ray tube"),
        "rows": _spread(ROWS, "", "of an image"),
        "low": _spread(INTENSITY, "", "5 % of the values lie below"),
        "middle": _spread(INTENSITY, "", "half of the values lie below"),
        "high": _spread(INTENSITY, "", "95 % of the values lie below"),
        "score": _spread(SCORE, "", "the highest probability that the model gave"),
        "volume": _spread(VOLUME_ML, "mL", "all that the model outlined"),
        "positives": _spread(POSITIVES, "", "how many findings"),
        "enough": Field(type=Flag(), purpose="whether a drift test had the studies that it needs"),
        **{name: field for spread in SPREADS for name, field in _drift(spread).items()},
    },
)

SHADOW: Final = Schema(
    says="How a release that runs beside another agreed with it since it began.",
    keep_days=400,
    fields={
        "release": _release("which release runs beside"),
        "against": _release("which release serves"),
        "studies": Field(type=Total(), purpose="studies that both answered"),
        "agree": Field(type=Total(), purpose="of these, with the same outcome"),
        "only_new": Field(type=Total(), purpose="of these, where only the new one found something"),
        "only_old": Field(type=Total(), purpose="of these, where only the old one found something"),
        "failed": Field(type=Total(), purpose="studies where the new one failed and the old one did not"),
        "difference": Field(type=Histogram(edges=DIFFERENCE, fives=True), purpose="new score less old score"),
        "volume_ratio": Field(type=Histogram(edges=RATIO, fives=True), purpose="new volume over old volume"),
        "time_ratio": Field(type=Histogram(edges=RATIO, fives=True), purpose="new time over old time"),
    },
)

KINDS: Final[Mapping[Kind, Schema]] = {
    Kind.STATE: STATE,
    Kind.WORK: WORK,
    Kind.MACHINE: MACHINE,
    Kind.INPUT: INPUT,
    Kind.SHADOW: SHADOW,
}


def bit_of(alarm: AlarmKind) -> int:
    """Return the bit of an alarm in `alarms`."""
    return 1 << alarm.value
