"""Write down what people decide of a roll-out, and make the plan that they decide about.

Promises: a decision, the state that follows and its row in the audit trail are written together or not.
Never: signs anything; that is the controller's, which does what is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.ledger.engine import Tx
from provisioning.registry.book import Book
from provisioning.registry.database import audit, devices, rollouts
from provisioning.registry.database.engine import Database
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.faults import RegistryFault
from provisioning.registry.operator import person
from provisioning.registry.promote import assignments
from provisioning.registry.publish import releases
from provisioning.registry.rollout.events import Approved, Decision, Event, Superseded
from provisioning.registry.rollout.plan import SHARES, Gates, Member, Plan, rings_of
from provisioning.registry.rollout.reducer import reduce
from provisioning.registry.rollout.state import Stage, State


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a person asks for; empty `slots` are all that are not retired."""

    model: str
    version: str
    by: str
    slots: Sequence[str] = ()
    shares: Sequence[float] = SHARES
    gates: Gates = field(default_factory=Gates)
    at_once_max: int = 50
    why: str = ""


def propose(database: Database, book: Book, proposal: Proposal) -> Rollout:
    """Make a roll-out, which somebody else must approve.

    Raises:
        RegistryFault: there is no such release or slot, it was recalled, or everybody has it.
    """
    plan = _plan(database, book, proposal)
    at = database.clock.now()
    with database.write() as tx:
        number = rollouts.add(tx, plan, at=at)
        audit.note(
            tx,
            at=at,
            who=proposal.by,
            act="rollout.start",
            subject=subject_of(number),
            after=f"{plan.model} {plan.version}, {len(plan.members)} slots in {len(plan.rings)} rings",
            why=proposal.why,
        )
        return found(tx, number)


def decide(database: Database, number: int, decision: Decision) -> Rollout:
    """Carry out what a person decided.

    Raises:
        RegistryFault: there is no such roll-out, it cannot be decided now, or not by this person.
    """
    with database.write() as tx:
        held = found(tx, number, to_change=True)
        if isinstance(decision, Approved) and held.state.stage is Stage.PROPOSED:
            _make_room(tx, held, decision)
        happened(tx, held, decision, who=decision.by)
        return found(tx, number)


def found(tx: Tx, number: int, *, to_change: bool = False) -> Rollout:
    """Return a roll-out.

    Raises:
        RegistryFault: there is none of this number.
    """
    one = rollouts.find(tx, number, to_change=to_change)
    if one is None:
        raise RegistryFault(f"there is no roll-out {number}")
    return one


def happened(tx: Tx, held: Rollout, event: Event, *, who: str) -> State:
    """Write an event, if anything follows from it, and return the state that does.

    Raises:
        RegistryFault: a person decided what cannot be decided now.
    """
    before, after = held.state, reduce(held.plan, held.state, event).state
    if after == before:
        return after
    rollouts.record(tx, held.id, event, after, who=who)
    if isinstance(event, Decision) or (before.stage, before.ring) != (after.stage, after.ring):
        audit.note(
            tx,
            at=event.at,
            who=who,
            act=f"rollout.{event.kind}",
            subject=subject_of(held.id),
            before=_said(before),
            after=_said(after),
            why=after.why,
        )
    return after


def subject_of(number: int) -> str:
    """Return what the audit trail calls a roll-out."""
    return f"rollout {number}"


def _make_room(tx: Tx, held: Rollout, decision: Approved) -> None:
    """End every other roll-out of the model: a slot has one release under way, and the newest is meant."""
    if person(decision.by) == person(held.plan.made_by):
        # The reducer refuses it.
        return
    for other in rollouts.every(tx, model=held.plan.model, only_open=True):
        if other.id != held.id:
            locked = found(tx, other.id, to_change=True)
            happened(tx, locked, Superseded(at=decision.at, rollout=held.id), who=decision.by)


def _plan(database: Database, book: Book, proposal: Proposal) -> Plan:
    release = next(
        (one for one in releases(book) if (one.name, one.version) == (proposal.model, proposal.version)), None
    )
    if release is None:
        raise RegistryFault(f"{proposal.model} {proposal.version} was never published here")
    if release.recalled:
        raise RegistryFault(f"{proposal.model} {proposal.version} was recalled: {release.recalled}")
    members = _members(database, proposal.slots)
    had = assigned(book, proposal.model)
    rest = {name: one for name, one in members.items() if had.get(name) != proposal.version}
    if members and not rest:
        raise RegistryFault(f"every slot is assigned {proposal.model} {proposal.version} already")
    return Plan(
        model=release.name,
        version=release.version,
        digest=release.digest,
        rings=rings_of(rest.values(), proposal.shares),
        members=rest,
        made_by=proposal.by,
        gates=proposal.gates,
        at_once_max=proposal.at_once_max,
    )


def _members(database: Database, named: Sequence[str]) -> Mapping[str, Member]:
    with database.read() as tx:
        slots = {slot.name: slot for slot in devices.every_slot(tx)}
    if unknown := sorted(set(named) - set(slots)):
        raise RegistryFault(f"there is no slot {', '.join(unknown)}")
    return {
        name: Member(name=name, site=slot.site, gpu=slot.gpu, vendor=slot.vendor, ring=slot.ring)
        for name, slot in slots.items()
        if not named or name in named
    }


def assigned(book: Book, model: str) -> dict[str, str | None]:
    """Return which version of a model the director's list gives each device that it knows.

    Raises:
        RegistryFault: the list cannot be read.
    """
    return {
        device: next((line.version for line in lines if line.name == model and not line.shadow), None)
        for device, lines in assignments(book).items()
    }


def _said(state: State) -> str:
    return f"{state.stage}, ring {state.ring}"
