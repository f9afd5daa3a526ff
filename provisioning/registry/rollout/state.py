"""Where a roll-out stands, and each of its slots.

Promises: a state is all that must be remembered; what is due to be assigned follows from it alone, so that a
controller which died between deciding and signing does it the next time.
Never: changes; the reducer makes a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from appliance.sync.phase import Phase
from provisioning.registry.rollout.facts import Stand, Work
from provisioning.registry.rollout.gate import Judgement, Verdict
from provisioning.registry.rollout.plan import Plan


class Stage(StrEnum):
    """Where the whole of it stands."""

    PROPOSED = "proposed"
    RUNNING = "running"
    PAUSED = "paused"
    # Every gate was passed; devices that were offline still join.
    DONE = "done"
    STOPPED = "stopped"
    BACK = "back"
    SUPERSEDED = "superseded"


# From these nothing is ever assigned again, except the way back.
FINAL: Final = frozenset({Stage.STOPPED, Stage.BACK, Stage.SUPERSEDED})
ASSIGNING: Final = frozenset({Stage.RUNNING, Stage.DONE})


class Want(StrEnum):
    """What the director's list should give a slot, as far as this roll-out has a say in it."""

    NOTHING = "nothing"
    RELEASE = "release"
    # What it had before: for good, or until a pause ends.
    BEFORE = "before"
    ASIDE = "aside"
    # Another hand assigned something else.
    LEFT = "left"


# A change that has not begun can be taken back; from here on it is a way back.
BEGUN: Final = frozenset({Phase.ACTIVATING, Phase.SOAK, Phase.COMMITTED})
_WAITING: Final = frozenset({Phase.SHADOW, Phase.WAITING_WINDOW, Phase.WAITING_CONSENT, Phase.HELD})


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One slot.

    Attributes:
        confirmed: the director's list was seen to give what is wanted.
        assigned: what the list gives it, as last seen.
        before: what it gave before the release; the way back leads there.
        since: when the phase was entered, or the device came back; epoch seconds.
        hardware: the beginning of the device's id.
        base: what the version before did here, as it was told while that one served.
        late: it stands in its phase for longer than one may.
        failed: the release failed on it; it is not tried again.
    """

    want: Want = Want.NOTHING
    confirmed: bool = False
    assigned: str | None = None
    before: str | None = None
    phase: Phase = Phase.UNKNOWN
    code: int = 0
    serving: bool | None = None
    since: float = 0.0
    reachable: bool = False
    hardware: str = ""
    base: Work | None = None
    late: bool = False
    failed: bool = False

    @property
    def stand(self) -> Stand:
        """Return what it is to the roll-out."""
        if self.failed:
            return Stand.FAILED
        if self.want is not Want.RELEASE:
            return _STANDS[self.want]
        if self.phase is Phase.COMMITTED:
            return Stand.COMMITTED
        if self.phase in (Phase.REFUSED, Phase.ROLLED_BACK):
            return Stand.REFUSED
        if self.phase in _WAITING:
            return Stand.WAITING
        if self.late:
            return Stand.LATE
        return Stand.SOAKING if self.phase is Phase.SOAK else Stand.MOVING

    @property
    def is_moving(self) -> bool:
        """Say whether it takes one of the places for devices that change at the same time."""
        return self.reachable and self.stand is Stand.MOVING


_STANDS: Final = {
    Want.NOTHING: Stand.PENDING,
    Want.ASIDE: Stand.PENDING,
    Want.BEFORE: Stand.BACK,
    Want.LEFT: Stand.LEFT,
}


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a roll-out stands.

    Attributes:
        ring: the one that is under way.
        ring_since, soaking_since: when it began, and when enough of it had committed; epoch seconds.
        verdict: what its gate said last; None: not asked yet.
        holds: the checks that did not pass.
        asked: it was put before a person, because the gate did not decide in time.
        why: of the last change of stage.
        superseded: a newer roll-out of the model began; this one only finishes what it has to take back.
    """

    stage: Stage = Stage.PROPOSED
    ring: int = 0
    ring_since: float = 0.0
    soaking_since: float | None = None
    verdict: Verdict | None = None
    holds: tuple[str, ...] = ()
    asked: bool = False
    why: str = ""
    superseded: bool = False
    slots: Mapping[str, Slot] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Say whether it must still be looked at."""
        return self.stage is not Stage.PROPOSED and (not self.superseded or bool(due(self)))

    def counts(self) -> Counter[Stand]:
        """Return how many slots stand where."""
        return Counter(slot.stand for slot in self.slots.values())


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What is to be signed: who is to get the release, and who is to get what it had before."""

    assign: tuple[str, ...] = ()
    back: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything to do."""
        return bool(self.assign or self.back)


def first(plan: Plan) -> State:
    """Return the state of a roll-out that nobody approved yet."""
    return State(slots={slot: Slot() for ring in plan.rings for slot in ring})


def due(state: State) -> Actions:
    """Return what is to be signed now."""
    assign, back = [], dict[str | None, list[str]]()
    for name, slot in _unconfirmed(state):
        if slot.want is Want.RELEASE and state.stage in ASSIGNING:
            assign.append(name)
        elif slot.want in (Want.BEFORE, Want.ASIDE):
            back.setdefault(slot.before, []).append(name)
    return Actions(assign=tuple(assign), back={version: tuple(names) for version, names in back.items()})


def _unconfirmed(state: State) -> Iterator[tuple[str, Slot]]:
    return ((name, slot) for name, slot in state.slots.items() if not slot.confirmed)


STATE: TypeAdapter[State] = TypeAdapter(State)
PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
JUDGEMENT: TypeAdapter[Judgement] = TypeAdapter(Judgement)
