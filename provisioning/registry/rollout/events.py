"""What can happen to a roll-out: what people decide, what a look shows, what a gate says.

Promises: an event holds all that the reducer needs: the same events give the same state on any machine.
Never: holds anything of a device but its slot's name, numbers and fixed words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from provisioning.registry.rollout.facts import Sight
from provisioning.registry.rollout.gate import Judgement


@dataclass(frozen=True, kw_only=True)
class _Event:
    """Something that happened at an epoch second."""

    at: float


@dataclass(frozen=True, kw_only=True)
class _Decision(_Event):
    """What a person decided; `why` is for who reads it later."""

    by: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Approved(_Decision):
    """Somebody else than its maker lets it begin; or, of a ring that is held, lets the next one begin."""

    kind: Literal["approved"] = "approved"
    ring: int | None = None


@dataclass(frozen=True, kw_only=True)
class Paused(_Decision):
    """Nothing more is assigned, and what was assigned and does not serve yet is taken back."""

    kind: Literal["paused"] = "paused"


@dataclass(frozen=True, kw_only=True)
class Resumed(_Decision):
    """It goes on where it was paused."""

    kind: Literal["resumed"] = "resumed"


@dataclass(frozen=True, kw_only=True)
class Stopped(_Decision):
    """It ends here; who runs the release keeps it."""

    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, kw_only=True)
class Returned(_Decision):
    """It ends, and every slot is assigned what it had before."""

    kind: Literal["returned"] = "returned"


@dataclass(frozen=True, kw_only=True)
class Recalled(_Event):
    """The holders of the offline keys recalled the release."""

    kind: Literal["recalled"] = "recalled"
    why: str


@dataclass(frozen=True, kw_only=True)
class Superseded(_Event):
    """A newer roll-out of the same model began."""

    kind: Literal["superseded"] = "superseded"
    rollout: int


@dataclass(frozen=True, kw_only=True)
class Seen(_Event):
    """A look; only the slots that are named changed."""

    kind: Literal["seen"] = "seen"
    sights: Mapping[str, Sight]


@dataclass(frozen=True, kw_only=True)
class Judged(_Event):
    """What the gate of a ring said, with its evidence."""

    kind: Literal["judged"] = "judged"
    ring: int
    judgement: Judgement


Decision = Approved | Paused | Resumed | Stopped | Returned
Event = Decision | Recalled | Superseded | Seen | Judged
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
