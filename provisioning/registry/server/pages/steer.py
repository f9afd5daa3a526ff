"""Roll-outs as people see and steer them: rings, the gate's evidence, a button for each decision.

Promises: a button is shown to whom it works for; the reducer and the roles decide, not the page.
Never: signs; the controller does what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query
from fastapi.responses import RedirectResponse, Response

from appliance.console.faults import Fault
from provisioning.registry.book import Book
from provisioning.registry.database import rollouts
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.database.words import Role
from provisioning.registry.faults import RegistryFault
from provisioning.registry.operator import person
from provisioning.registry.rollout.decide import Proposal, decide, propose
from provisioning.registry.rollout.events import Approved, Decision, Paused, Resumed, Returned, Stopped
from provisioning.registry.rollout.gate import Verdict
from provisioning.registry.rollout.state import FINAL, Stage
from provisioning.registry.rollout.view import entry_sentence
from provisioning.registry.server.access import Person
from provisioning.registry.server.pages.catalogue import Catalogue
from provisioning.registry.server.pages.frame import Visitor, presser, shown
from provisioning.registry.server.room import Here, Room

router = APIRouter(include_in_schema=False)
_ROWS, _EVENTS = 50, 100
_NUMBER_MAX = 2**53
_TEXT_CHARACTERS_MAX, _SLOTS_CHARACTERS_MAX = 500, 100_000
_Operator = Annotated[Person, presser(Role.OPERATOR)]
_Approver = Annotated[Person, presser(Role.APPROVER)]
_Why = Annotated[str, Form(max_length=_TEXT_CHARACTERS_MAX)]
_DECISIONS: Final[Mapping[str, Callable[..., Decision]]] = {
    "pause": Paused,
    "resume": Resumed,
    "stop": Stopped,
    "back": Returned,
}


@dataclass(frozen=True, kw_only=True)
class Button:
    """One decision that a person may take now; `asks` is what the reason's field is called."""

    act: str
    label: str
    says: str
    role: Role
    asks: str = "Why"
    needs_why: bool = False
    danger: bool = False
    ring: int | None = None


@router.get("/rollouts")
def every(
    here: Here, who: Visitor, before: Annotated[int, Query(ge=1, le=_NUMBER_MAX)] = _NUMBER_MAX
) -> Response:
    """List roll-outs, newest first, with the form that proposes one."""
    with here.database.read() as tx:
        found = rollouts.every(tx, limit=_ROWS, before=before)
    catalogue = Catalogue.of(here)
    more = found[-1].id if len(found) == _ROWS else None
    return shown(here, who, "rollouts.html", tab="rollouts", rollouts=found, catalogue=catalogue, more=more)


@router.get("/rollouts/{number}")
def one(here: Here, who: Visitor, number: int) -> Response:
    """Show one roll-out whole."""
    held = _found(here, number)
    with here.database.read() as tx:
        said = [(entry, entry_sentence(entry)) for entry in rollouts.newest(tx, number, limit=_EVENTS)]
    values: dict[str, Any] = {"one": held, "events": said, "events_max": _EVENTS, "waits": _waits(held, who)}
    values["rings"] = [Counter(held.state.slots[name].stand for name in ring) for ring in held.plan.rings]
    return shown(here, who, "rollout.html", tab="rollouts", buttons=buttons(held, who), **values)


@router.post("/rollouts")
def start(
    here: Here,
    who: _Operator,
    release: Annotated[str, Form(max_length=_TEXT_CHARACTERS_MAX)] = "",
    slots: Annotated[str, Form(max_length=_SLOTS_CHARACTERS_MAX)] = "",
    why: _Why = "",
) -> Response:
    """Propose a roll-out."""
    model, _, version = release.partition(" ")
    wish = Proposal(model=model, version=version, by=who.name, slots=slots.replace(",", " ").split(), why=why)
    try:
        made = propose(here.database, Book(folder=here.setting.folder, clock=here.clock), wish)
    except RegistryFault as fault:
        raise Fault(409, f"This roll-out cannot be proposed: {fault}.") from fault
    return RedirectResponse(f"/rollouts/{made.id}", 303)


@router.post("/rollouts/{number}/approve")
def approve(
    here: Here, who: _Approver, number: int, why: _Why = "", ring: Annotated[int | None, Form()] = None
) -> Response:
    """Let it begin, or let a ring pass whose evidence is not enough."""
    return _decided(here, number, Approved(at=here.clock.now(), by=who.name, why=why, ring=ring))


@router.post("/rollouts/{number}/{act}")
def steer(here: Here, who: _Operator, number: int, act: str, why: _Why = "") -> Response:
    """Pause, resume, stop, or take back everywhere."""
    if act not in _DECISIONS:
        raise Fault(404, "There is nothing under this address.")
    return _decided(here, number, _DECISIONS[act](at=here.clock.now(), by=who.name, why=why))


def buttons(one: Rollout, who: Person) -> list[Button]:
    """Return what this person may decide of a roll-out now."""
    stage, found = one.state.stage, list[Button]()
    own = person(who.name) == person(one.plan.made_by)
    if stage is Stage.PROPOSED and not own:
        says = "It begins: the first ring is given the release."
        found.append(Button(act="approve", label="Approve", says=says, role=Role.APPROVER))
    if stage is Stage.RUNNING and one.state.verdict is Verdict.NOT_ENOUGH and not own:
        found.append(_onward(one))
    if stage is Stage.RUNNING:
        says = "Nothing more is assigned, and what does not serve yet is taken back."
        found.append(Button(act="pause", label="Pause", says=says, role=Role.OPERATOR))
    if stage is Stage.PAUSED:
        says = "It goes on where it was."
        found.append(Button(act="resume", label="Resume", says=says, role=Role.OPERATOR))
    if stage not in FINAL:
        says = "It ends for good. Devices that run the release keep it."
        found.append(Button(act="stop", label="Stop", says=says, role=Role.OPERATOR, danger=True))
    if stage not in (Stage.PROPOSED, Stage.BACK, Stage.SUPERSEDED):
        says = "It ends for good, and every device is given what it had before."
        found.append(Button(act="back", label="Back everywhere", says=says, role=Role.OPERATOR, danger=True))
    return [button for button in found if who.role.covers(button.role)]


def _waits(one: Rollout, who: Person) -> str:
    """Say whom it waits for; empty if for nobody, or for this person."""
    stage = one.state.stage
    held = stage is Stage.RUNNING and one.state.asked
    if stage is not Stage.PROPOSED and not held:
        return ""
    if person(who.name) == person(one.plan.made_by):
        return "You proposed it; an approver other than you must approve it."
    return "" if who.role.covers(Role.APPROVER) else "It waits for an approver."


def _onward(one: Rollout) -> Button:
    ring = one.state.ring
    return Button(
        act="approve",
        label=f"Let ring {ring} pass",
        says="The next ring begins although the gate has not enough evidence.",
        role=Role.APPROVER,
        asks="Why that is right",
        needs_why=True,
        danger=True,
        ring=ring,
    )


def _decided(here: Room, number: int, decision: Decision) -> Response:
    _found(here, number)
    try:
        decide(here.database, number, decision)
    except RegistryFault as fault:
        raise Fault(409, f"This cannot be decided now: {fault}.") from fault
    return RedirectResponse(f"/rollouts/{number}", 303)


def _found(here: Room, number: int) -> Rollout:
    found = None
    if 0 < number <= _NUMBER_MAX:
        with here.database.read() as tx:
            found = rollouts.find(tx, number)
    if found is None:
        raise Fault(404, "There is no such roll-out.")
    return found
