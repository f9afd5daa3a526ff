"""Roll-outs over HTTP: viewers look, operators start, pause, stop and take back, approvers approve.

Promises: a change answers with the roll-out as it then is; what cannot be decided now is 409 and a sentence.
Never: signs; the controller, a duty of one of the processes, does what follows.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from appliance.console.faults import Fault
from provisioning.registry.book import Book
from provisioning.registry.database import rollouts
from provisioning.registry.database.words import Role
from provisioning.registry.faults import RegistryFault
from provisioning.registry.rollout.controller import Controller
from provisioning.registry.rollout.decide import Proposal, decide, propose
from provisioning.registry.rollout.events import Approved, Decision, Paused, Resumed, Returned, Stopped
from provisioning.registry.rollout.plan import SHARES, gates_of
from provisioning.registry.rollout.view import detail, entry_view, summary
from provisioning.registry.server.access import Person
from provisioning.registry.server.room import Here, Room, Viewer, changer

router = APIRouter(prefix="/api/v1/rollouts", tags=["Roll-outs"])
_TEXT_CHARACTERS_MAX = 500
OperatorChanges = Annotated[Person, changer(Role.OPERATOR)]
ApproverChanges = Annotated[Person, changer(Role.APPROVER)]
Text = Annotated[str, Field(max_length=_TEXT_CHARACTERS_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wish(_Body):
    """What roll-out is wanted; empty `slots` are all."""

    model: Text
    version: Text
    slots: list[Text] = Field(default=[], max_length=10_000)
    shares: list[float] = Field(default=list(SHARES), max_length=20)
    gates: dict[str, float | int] = Field(default={}, max_length=40)
    at_once_max: int = Field(default=50, ge=1, le=10_000)
    why: Text = ""


class Reason(_Body):
    """Why somebody decides."""

    why: Text = ""


class Approval(Reason):
    """Why, and which held ring is meant; no ring: the beginning."""

    ring: int | None = None


@router.get("")
def every(
    who: Viewer, here: Here, limit: Annotated[int, Query(ge=1, le=500)] = 100, model: str = ""
) -> dict[str, Any]:
    """List roll-outs, the newest first."""
    del who
    with here.database.read() as tx:
        return {"rollouts": [summary(one) for one in rollouts.every(tx, model=model, limit=limit)]}


@router.get("/{number}")
def one(number: int, who: Viewer, here: Here) -> dict[str, Any]:
    """Return a roll-out whole, with the evidence of its gate."""
    del who
    return detail(_found(here, number))


@router.get("/{number}/events")
def events(
    number: int,
    who: Viewer,
    here: Here,
    after: int = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Return what happened to a roll-out, oldest first."""
    del who
    _found(here, number)
    with here.database.read() as tx:
        found = rollouts.history(tx, number, after=after, limit=limit)
    return {"events": [entry_view(entry) for entry in found]}


@router.post("", status_code=201)
def start(wish: Wish, who: OperatorChanges, here: Here) -> dict[str, Any]:
    """Propose a roll-out."""
    try:
        proposal = Proposal(
            model=wish.model,
            version=wish.version,
            by=who.name,
            slots=wish.slots,
            shares=wish.shares,
            gates=gates_of(wish.gates),
            at_once_max=wish.at_once_max,
            why=wish.why,
        )
        return detail(propose(here.database, _book(here), proposal))
    except RegistryFault as fault:
        raise Fault(422, str(fault)) from fault


@router.post("/{number}/approve")
def approve(number: int, said: Approval, who: ApproverChanges, here: Here) -> dict[str, Any]:
    """Let it begin, or let a ring pass whose evidence is not enough."""
    return _decided(here, number, Approved(at=here.clock.now(), by=who.name, why=said.why, ring=said.ring))


@router.post("/{number}/pause")
def pause(number: int, said: Reason, who: OperatorChanges, here: Here) -> dict[str, Any]:
    """Assign nothing more, and take back what does not serve yet."""
    return _decided(here, number, Paused(at=here.clock.now(), by=who.name, why=said.why))


@router.post("/{number}/resume")
def resume(number: int, said: Reason, who: OperatorChanges, here: Here) -> dict[str, Any]:
    """Go on where it was paused."""
    return _decided(here, number, Resumed(at=here.clock.now(), by=who.name, why=said.why))


@router.post("/{number}/stop")
def stop(number: int, said: Reason, who: OperatorChanges, here: Here) -> dict[str, Any]:
    """End it; devices that run the release keep it."""
    return _decided(here, number, Stopped(at=here.clock.now(), by=who.name, why=said.why))


@router.post("/{number}/back")
def back(number: int, said: Reason, who: OperatorChanges, here: Here) -> dict[str, Any]:
    """End it, and assign every device what it had before."""
    return _decided(here, number, Returned(at=here.clock.now(), by=who.name, why=said.why))


def carry_out(room: Room) -> None:
    """Take the controller's turn: a duty, which one of the processes has."""
    Controller(database=room.database, book=_book(room), judge_seconds=room.limits.judge_seconds).turn()


def _decided(room: Room, number: int, decision: Decision) -> dict[str, Any]:
    _found(room, number)
    try:
        return detail(decide(room.database, number, decision))
    except RegistryFault as fault:
        raise Fault(409, str(fault)) from fault


def _found(room: Room, number: int) -> rollouts.Rollout:
    with room.database.read() as tx:
        found = rollouts.find(tx, number)
    if found is None:
        raise Fault(404, f"There is no roll-out {number}.")
    return found


def _book(room: Room) -> Book:
    return Book(folder=room.setting.folder, clock=room.clock)
