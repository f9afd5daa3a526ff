"""Devices, models, alerts, people and the audit trail, as people look at them. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import RedirectResponse, Response

from appliance.console.faults import Fault
from appliance.health.codes import Kind
from provisioning.registry.database import accounts, alerts, audit, certificates, devices, fleet, telemetry
from provisioning.registry.database.fleet import Line
from provisioning.registry.database.telemetry import Reported
from provisioning.registry.database.words import Role
from provisioning.registry.server.access import Person
from provisioning.registry.server.pages import numbers, words
from provisioning.registry.server.pages.catalogue import Catalogue, maker_of
from provisioning.registry.server.pages.frame import Visitor, shown, visitor
from provisioning.registry.server.room import Here

router = APIRouter(include_in_schema=False)
_ROWS, _HISTORY, _SLOTS_NAMED = 100, 50, 12
_Before = Annotated[int | None, Query(ge=1, le=2**53)]
_Id = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_After = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One slot in the list, and how releases stand on its device."""

    line: Line
    serves: Sequence[Reported]
    others: Sequence[Reported]


@router.get("/")
def first() -> Response:
    """Go to the devices."""
    return RedirectResponse("/devices", 303)


@router.get("/devices")
def every_device(here: Here, who: Visitor, after: _After = "") -> Response:
    """List slots with their devices: on the first page those that are silent on top."""
    since = here.clock.now() - here.limits.silent_seconds
    with here.database.read() as tx:
        silent = [] if after else fleet.silent(tx, since=since, limit=_ROWS)
        found = fleet.lines(tx, after=after, limit=_ROWS, but_silent=since)
        said = telemetry.standings(tx, [one.device for one in (*silent, *found) if one.device])
        values: dict[str, Any] = {
            "silent_count": fleet.count_silent(tx, since=since),
            "states": fleet.by_state(tx),
        }
    catalogue = Catalogue.of(here)
    return shown(
        here,
        who,
        "devices.html",
        tab="devices",
        silent=[_row(one, said, catalogue) for one in silent],
        rows=[_row(one, said, catalogue) for one in found],
        catalogue=catalogue,
        silent_seconds=here.limits.silent_seconds,
        after=after,
        next=found[-1].slot if len(found) == _ROWS else None,
        **values,
    )


@router.get("/devices/{device}")
def one_device(here: Here, who: Visitor, device: _Id) -> Response:
    """Show one device whole."""
    with here.database.read() as tx:
        found = devices.find(tx, device)
        if found is None:
            raise Fault(404, "There is no such device.")
        values: dict[str, Any] = {
            "slot": devices.slot(tx, found.slot),
            "certificates": certificates.of_device(tx, device),
            "releases": telemetry.standings(tx, [device])[device],
            "history": telemetry.history(tx, device, Kind.STATE, since=0.0, limit=_HISTORY),
            "alerts": alerts.about(tx, device, limit=_HISTORY),
        }
        newest = telemetry.states_of(tx, device)
    told = [(one, list(numbers.lines(one))) for one in newest if one.kind in numbers.SHOWN]
    silent_since = here.clock.now() - here.limits.silent_seconds
    return shown(
        here,
        who,
        "device.html",
        tab="devices",
        device=found,
        numbers=told,
        kinds=Kind,
        silent_since=silent_since,
        catalogue=Catalogue.of(here),
        history_max=_HISTORY,
        **values,
    )


@router.get("/models")
def every_model(here: Here, who: Visitor) -> Response:
    """List releases, the newest of each model first, with where they serve and who made them."""
    catalogue = Catalogue.of(here)
    with here.database.read() as tx:
        phases = fleet.by_phase(tx)
        serving = {number: fleet.serving(tx, number, limit=_SLOTS_NAMED) for number in catalogue.by_reference}
    standing: dict[int, list[tuple[int, int]]] = {}
    for (release, phase), count in sorted(phases.items()):
        # Where it serves is told by name; this phase is also that of releases which served before.
        if phase not in words.SERVES:
            standing.setdefault(release, []).append((phase, count))
    makers = {number: maker_of(here, one) for number, one in catalogue.by_reference.items()}
    unknown = sorted({release for release, _ in phases} - catalogue.by_reference.keys())
    return shown(
        here,
        who,
        "models.html",
        tab="models",
        catalogue=catalogue,
        serving=serving,
        standing=standing,
        makers=makers,
        unknown=unknown,
    )


@router.get("/alerts")
def every_alert(here: Here, who: Visitor, before: _Before = None) -> Response:
    """List alerts: those that are open on the first page, and those that are over."""
    with here.database.read() as tx:
        opened = [] if before else alerts.listed(tx, only_open=True, limit=here.limits.page_rows_max)
        over = alerts.over(tx, limit=_ROWS, before=before)
        slots = alerts.slots_of(tx, [one.subject for one in (*opened, *over)])
    more = over[-1].id if len(over) == _ROWS else None
    values: dict[str, Any] = {"open_ones": opened, "over": over, "slots": slots, "more": more}
    told = here.setting.ways.any
    return shown(here, who, "alerts.html", tab="alerts", first=before is None, told=told, **values)


@router.get("/people")
def people(here: Here, who: Annotated[Person, visitor(Role.ADMIN)]) -> Response:
    """List who may log in."""
    with here.database.read() as tx:
        found = accounts.every(tx)
    return shown(here, who, "people.html", tab="people", accounts=found)


@router.get("/audit")
def trail(
    here: Here,
    who: Annotated[Person, visitor(Role.APPROVER)],
    before: _Before = None,
    subject: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    """List acts of people and of the controller, newest first."""
    with here.database.read() as tx:
        found = audit.acts(tx, before=before, subject=subject, limit=_ROWS)
    more = found[-1].seq if len(found) == _ROWS else None
    return shown(here, who, "audit.html", tab="audit", acts=found, subject=subject, more=more)


def _row(line: Line, said: Mapping[str, Sequence[Reported]], catalogue: Catalogue) -> Row:
    own = said.get(line.device or "", ())
    serves = [one for one in own if one.numbers.get("serving")]
    newest: dict[str, int] = {}
    for one in serves:
        release = catalogue.by_reference.get(one.release)
        if release is not None:
            newest[release.name] = max(release.counter, newest.get(release.name, 0))
    others = [one for one in own if not one.numbers.get("serving") and _is_newer(one, newest, catalogue)]
    return Row(line=line, serves=serves, others=others)


def _is_newer(one: Reported, newest: Mapping[str, int], catalogue: Catalogue) -> bool:
    """Say whether a release that does not serve is under way or failed, and not one that served long ago."""
    release = catalogue.by_reference.get(one.release)
    return release is None or release.counter > newest.get(release.name, 0)
