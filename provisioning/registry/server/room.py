"""What every handler of the registry works with, and who may call it.

A handler says what it needs: `who: Viewer`, `Operator`, `Approver` or `Admin` for reading; for changes
`who: Annotated[Person, changer(Role.OPERATOR)]`, which also wants proof that no foreign page asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from appliance.console import forms
from appliance.console.access import address_of
from appliance.console.faults import Fault
from appliance.core.clock import Clock
from provisioning.registry.database.engine import Database
from provisioning.registry.database.words import Role
from provisioning.registry.server.access import Doorkeeper, Person
from provisioning.registry.server.limits import ServerLimits
from provisioning.registry.server.setting import Setting

_LOOPBACK = ("127.", "::1", "::ffff:127.")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@dataclass(frozen=True, kw_only=True)
class Room:
    """The server's parts, made once by `application`."""

    setting: Setting
    database: Database
    doorkeeper: Doorkeeper
    form_key: forms.FormKey

    @property
    def clock(self) -> Clock:
        """Return where the time comes from."""
        return self.setting.clock

    @property
    def limits(self) -> ServerLimits:
        """Return the bounds."""
        return self.setting.limits


def room_of(request: Request) -> Room:
    """Return the parts of the server that a request came to."""
    room = request.app.state.room
    assert isinstance(room, Room)
    return room


Here = Annotated[Room, Depends(room_of)]


def reader(needed: Role) -> Any:
    """Return a dependency: who asks, by session or HTTP basic, with at least this role."""

    def _reader(request: Request, here: Here) -> Person:
        return held(here.doorkeeper.caller(request), needed)

    return Depends(_reader)


def changer(needed: Role) -> Any:
    """Return a dependency for changes: JSON, which no foreign page can send, and a session's proof."""

    def _changer(request: Request, here: Here) -> Person:
        person = held(here.doorkeeper.caller(request), needed)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Fault(403, "Another site's page asked for this; it is refused.")
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Fault(415, "Send application/json.")
        if person.session and not forms.holds(person, request.headers.get("x-csrf-token", "")):
            raise Fault(403, "The header X-CSRF-Token does not fit this session.")
        return person

    return Depends(_changer)


def held(person: Person, needed: Role) -> Person:
    """Return a person whose role is enough.

    Raises:
        Fault: it is not (403).
    """
    if not person.role.covers(needed):
        raise Fault(403, f"This takes the role {needed.value}; yours is {person.role.value}.")
    return person


def _watcher(request: Request, here: Here) -> None:
    """Let monitoring on the same machine in without a log-in; a proxy's requests do not count as such."""
    here_itself = address_of(request).startswith(_LOOPBACK)
    if not here_itself or any(name in request.headers for name in _FORWARDED):
        here.doorkeeper.caller(request)


Watcher = Depends(_watcher)
Viewer = Annotated[Person, reader(Role.VIEWER)]
Operator = Annotated[Person, reader(Role.OPERATOR)]
Approver = Annotated[Person, reader(Role.APPROVER)]
Admin = Annotated[Person, reader(Role.ADMIN)]
