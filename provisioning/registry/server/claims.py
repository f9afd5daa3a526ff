"""Devices come and go by a person's word: operators invite, approvers let back and revoke.

Promises: a claim code is in one answer and nowhere else; every act is in the audit trail.
Never: makes a certificate; a device asks for its own.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from appliance.console.faults import Fault
from provisioning.identity.code import invitation_text, shown
from provisioning.registry import enrolment
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.words import DeviceState, Role
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.access import Person
from provisioning.registry.server.est import office_of
from provisioning.registry.server.room import Here, Viewer, changer

router = APIRouter(prefix="/api/v1", tags=["Claims"])
_OperatorChanges = Annotated[Person, changer(Role.OPERATOR)]
_ApproverChanges = Annotated[Person, changer(Role.APPROVER)]
_Id = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Word = Annotated[str, Field(pattern="^[A-Za-z0-9._ -]{0,64}$")]
_Why = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wish(_Body):
    """Who is invited: into which slot, whether it may take that over, for how many days; the slot's words."""

    slot: _Name
    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=500)]
    replaces: bool = False
    days: Annotated[float, Field(ge=0.01, le=90)] = enrolment.CODE_DAYS
    site: _Word = ""
    gpu: _Word = ""
    vendor: _Word = ""


class Reason(_Body):
    """Why somebody decides."""

    why: _Why


@router.post("/invitations", status_code=201)
def invite(here: Here, who: _OperatorChanges, wish: Wish) -> dict[str, Any]:
    """Invite a device into a slot; the code is in this answer and is never shown again."""
    place = Slot(name=wish.slot, site=wish.site, gpu=wish.gpu, vendor=wish.vendor)
    try:
        made = enrolment.invite(
            office_of(here), place, url=wish.url, who=who.name, replaces=wish.replaces, days=wish.days
        )
    except RegistryFault as fault:
        raise Fault(409, str(fault)) from fault
    ends_at = here.clock.now() + wish.days * enrolment.DAY_SECONDS
    return {
        "slot": made.slot,
        "code": shown(made.code),
        "invitation": invitation_text(made),
        "ends_at": ends_at,
    }


@router.get("/returns")
def returns(here: Here, _who: Viewer) -> dict[str, Any]:
    """Return the devices whose certificate ended and that ask to come back, the longest waiting first."""
    return {"returns": [{**asdict(one), "slot": slot} for one, slot in enrolment.asking(office_of(here))]}


@router.post("/returns/{device}")
def approve(here: Here, who: _ApproverChanges, device: _Id, reason: Reason) -> dict[str, Any]:
    """Let a device come back, once."""
    try:
        enrolment.approve(office_of(here), device, who=who.name, why=reason.why)
    except RegistryFault as fault:
        raise Fault(409, str(fault)) from fault
    return {"device": device, "approved": True}


@router.post("/devices/{device}/revoke")
def revoke(here: Here, who: _ApproverChanges, device: _Id, reason: Reason) -> dict[str, Any]:
    """End a device for good; its slot and its assignment wait for another."""
    try:
        ended = enrolment.end(office_of(here), device, DeviceState.REVOKED, who=who.name, why=reason.why)
    except RegistryFault as fault:
        raise Fault(409, str(fault)) from fault
    return {"device": device, "slot": ended.slot, "state": DeviceState.REVOKED.value}
