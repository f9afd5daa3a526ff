"""`/api/v1` for people and their programs: by session or HTTP basic, with roles; errors are sentences."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from appliance.console.faults import Fault
from appliance.core.clock import as_text
from appliance.health.codes import Kind
from provisioning.registry.database import alerts, audit, devices, fleet, telemetry
from provisioning.registry.database.words import Role
from provisioning.registry.server.access import Person
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.room import Approver, Here, Viewer, changer

router = APIRouter(prefix="/api/v1", tags=["Registry"])

_Limit = Annotated[int, Query(ge=1, le=DEFAULT.page_rows_max)]
_Before = Annotated[int | None, Query(ge=1, le=2**53)]
_Id = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")]
_Changing = Annotated[Person, changer(Role.OPERATOR)]


class Offline(BaseModel):
    """A planned silence of a slot: until when (epoch seconds), or nothing to end it; and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: Annotated[float, Field(ge=0, le=2**33)] | None
    why: Annotated[str, Field(min_length=1, max_length=200)]


@router.get("/me")
def me(who: Viewer) -> dict[str, str]:
    """Return who asks, and what changes must carry in the header X-CSRF-Token when they come by session."""
    return {"name": who.name, "role": who.role.value, "csrf": who.csrf if who.session else ""}


@router.get("/devices")
def every_device(
    here: Here,
    _who: Viewer,
    after: Annotated[str, Query(max_length=64)] = "",
    limit: _Limit = 100,
) -> dict[str, Any]:
    """Return slots in use with their devices, by name, behind `after`."""
    since = here.clock.now() - here.limits.silent_seconds
    with here.database.read() as tx:
        found = fleet.lines(tx, after=after, limit=limit)
    lines = [{**asdict(one), "heard": (one.last_seen_at or 0.0) >= since} for one in found]
    return {"devices": lines, "next": found[-1].slot if len(found) == limit else None}


@router.get("/devices/{device}")
def one_device(here: Here, _who: Viewer, device: _Id) -> dict[str, Any]:
    """Return a device, its slot, and the newest that it said of each kind and release."""
    with here.database.read() as tx:
        found = devices.find(tx, device)
        if found is None:
            raise Fault(404, "There is no such device.")
        slot, said = devices.slot(tx, found.slot), telemetry.states_of(tx, device)
    return {
        "device": {key: value for key, value in asdict(found).items() if key != "public_key"},
        "slot": asdict(slot) if slot is not None else None,
        "states": [
            {
                "kind": Kind(one.kind).name,
                "release": f"{one.release:012x}" if one.release else None,
                "at": one.at,
                "received_at": one.received_at,
                "numbers": dict(one.numbers),
            }
            for one in said
        ],
    }


@router.get("/devices/{device}/history")
def history(
    here: Here,
    _who: Viewer,
    device: _Id,
    kind: Annotated[str, Query(pattern="^[A-Z]{1,16}$")],
    since: Annotated[float, Query(ge=0, le=2**33)] = 0.0,
    limit: _Limit = 100,
) -> dict[str, Any]:
    """Return what is kept of a device's records of a kind, newest first."""
    if kind not in Kind.__members__:
        raise Fault(404, "There is no such kind of record.")
    with here.database.read() as tx:
        found = telemetry.history(tx, device, Kind[kind], since=since, limit=limit)
    return {"records": [{"at": at, "numbers": dict(numbers)} for at, numbers in found]}


@router.get("/health")
def health(here: Here, _who: Viewer) -> dict[str, Any]:
    """Return the fleet in numbers: devices by state, how many were heard, open alerts by kind, releases."""
    since = here.clock.now() - here.limits.silent_seconds
    with here.database.read() as tx:
        phases = fleet.by_phase(tx)
        return {
            "devices": fleet.by_state(tx),
            "heard": fleet.heard_since(tx, since),
            "alerts": alerts.open_by_kind(tx),
            "releases": [
                {"release": f"{release:012x}", "phase": phase, "devices": count}
                for (release, phase), count in sorted(phases.items())
            ],
        }


@router.get("/alerts")
def every_alert(
    here: Here, _who: Viewer, every: bool = False, before: _Before = None, limit: _Limit = 100
) -> dict[str, Any]:
    """Return alerts, newest first: the open ones, or every one."""
    with here.database.read() as tx:
        found = alerts.listed(tx, only_open=not every, limit=limit, before=before)
        slots = alerts.slots_of(tx, [one.subject for one in found])
    lines = [{**asdict(one), "slot": slots.get(one.subject)} for one in found]
    return {"alerts": lines, "next": found[-1].id if len(found) == limit else None}


@router.get("/audit")
def trail(
    here: Here,
    _who: Approver,
    before: _Before = None,
    subject: Annotated[str, Query(max_length=128)] = "",
    limit: _Limit = 100,
) -> dict[str, Any]:
    """Return acts, newest first."""
    with here.database.read() as tx:
        found = audit.acts(tx, before=before, subject=subject, limit=limit)
    return {"acts": [asdict(one) for one in found], "next": found[-1].seq if len(found) == limit else None}


@router.post("/slots/{name}/offline")
def plan_silence(here: Here, who: _Changing, name: _Name, wish: Offline) -> dict[str, Any]:
    """Plan that a slot's device is silent until a time, or end that plan."""
    with here.database.write() as tx:
        former = devices.slot(tx, name)
        if former is None or former.retired_at is not None:
            raise Fault(404, "There is no such slot.")
        devices.change_slot(tx, name, offline_until=wish.until)
        audit.note(
            tx,
            at=here.clock.now(),
            who=who.name,
            act="slot.offline",
            subject=name,
            before=_time(former.offline_until),
            after=_time(wish.until),
            why=wish.why,
        )
    return {"slot": name, "offline_until": wish.until}


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, _who: Viewer) -> dict[str, Any]:
    """Return the description of this API."""
    app = request.app
    assert isinstance(app, FastAPI)
    return get_openapi(title=app.title, version=app.version, routes=app.routes)


def _time(at: float | None) -> str:
    return "" if at is None else as_text(at)
