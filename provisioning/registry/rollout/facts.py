"""What is known of one slot while a release is rolled out: where it stands, and what it did with it.

Promises: what was not reported is None, and never a nought.
Never: holds anything but numbers, fixed words and the names of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import RETURNED, Word

# What a device reports when the release itself failed on it, and not a person, a network or a disk.
BLAMED: Final = frozenset(code_of(word) for word in (Word.REJECTED, *RETURNED))


class Stand(StrEnum):
    """What a slot is to a roll-out."""

    PENDING = "pending"
    MOVING = "moving"
    WAITING = "waiting"
    SOAKING = "soaking"
    COMMITTED = "committed"
    FAILED = "failed"
    REFUSED = "refused"
    LATE = "late"
    BACK = "back"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one release did on one device.

    Attributes:
        studies: that it was given.
        failed: of these, those that came to no answer; at the least, for devices hide small counts.
        positives: of these, those with a finding; None where the device does not tell.
        times: studies by turnaround, in the cells between `appliance.health.kinds.TURNAROUND_SECONDS`.
    """

    studies: int = 0
    failed: int = 0
    positives: int | None = None
    times: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a look at one slot showed.

    Attributes:
        reachable: it reported within the plan's time.
        phase: of the release on this slot's device; None when it says nothing of it.
        code: number of the word that goes with the phase (`appliance.sync.phase`).
        serving: whether the release serves there; None when the device says nothing of it.
        hardware: the beginning of the device's id; another one has done nothing yet.
        assigned: the version of the model that the director's list gives this slot now; None: none.
        base: what that version did here; a device tells it only while it serves.
    """

    reachable: bool
    phase: Phase | None = None
    code: int = 0
    serving: bool | None = None
    hardware: str = ""
    assigned: str | None = None
    base: Work | None = None

    @property
    def is_blamed(self) -> bool:
        """Say whether the release itself is why this device does not run it."""
        return self.phase in (Phase.ROLLED_BACK, Phase.REFUSED) and self.code in BLAMED


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a gate judges one slot by.

    Attributes:
        now: what the release did here.
        before: what the version before it did on the same device; None when nothing is known of one.
        planned: whether its silence is planned.
        drifts: whether the device's own test says that input or output moved; None: it does not tell.
    """

    slot: str
    gpu: str
    vendor: str
    reachable: bool
    stand: Stand
    code: int = 0
    now: Work = field(default_factory=Work)
    before: Work | None = None
    planned: bool = False
    drifts: bool | None = None


def total(works: Sequence[Work]) -> Work:
    """Return what several devices did together."""
    told = [work.positives for work in works if work.positives is not None]
    cells = max((len(work.times) for work in works), default=0)
    return Work(
        studies=sum(work.studies for work in works),
        failed=sum(work.failed for work in works),
        positives=sum(told) if told else None,
        times=tuple(sum(work.times[cell] for work in works if work.times) for cell in range(cells)),
    )
