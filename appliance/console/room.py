"""What every handler of the console works with, and who may call it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Form, Request

from appliance.console import forms
from appliance.console.access import Doorkeeper, Visitor, address_of
from appliance.console.faults import Fault
from appliance.console.limits import Limits
from appliance.console.models import Models
from appliance.console.pages import Pages
from appliance.console.preview.desk import Desk
from appliance.console.snapshot import Watch
from appliance.console.viewings import Viewings
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.ledger.engine import Ledger

if TYPE_CHECKING:
    from appliance.console.leaving import Left

_LOOPBACK = ("127.", "::1", "::ffff:127.")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@dataclass(frozen=True, kw_only=True)
class Room:
    """The console's parts, made once by `create_app`."""

    ledger: Ledger
    config: Config
    spool_root: Path
    clock: Clock
    limits: Limits
    doorkeeper: Doorkeeper
    form_key: forms.FormKey
    viewings: Viewings
    watch: Watch
    models: Models
    pages: Pages
    desk: Desk
    left: Left | None = None


def _room(request: Request) -> Room:
    room = request.app.state.room
    assert isinstance(room, Room)
    return room


Here = Annotated[Room, Depends(_room)]


def _visitor(request: Request, here: Here) -> Visitor:
    return here.doorkeeper.visitor(request)


def _caller(request: Request, here: Here) -> Visitor:
    return here.doorkeeper.caller(request)


LoggedIn = Annotated[Visitor, Depends(_visitor)]
Caller = Annotated[Visitor, Depends(_caller)]


def _poster(visitor: LoggedIn, csrf: Annotated[str, Form(max_length=128)] = "") -> Visitor:
    if not forms.holds(visitor, csrf):
        raise Fault(403, "This form did not come from a page of this session. Load the page again.")
    return visitor


def _writer(request: Request, caller: Caller) -> Visitor:
    """Let a program change something: JSON only, which no foreign page can send, and a session's proof."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Fault(403, "Another site's page asked for this; it is refused.")
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Fault(415, "Send application/json.")
    if caller.session and not forms.holds(caller, request.headers.get("x-csrf-token", "")):
        raise Fault(403, "The header X-CSRF-Token does not fit this session.")
    return caller


def _watcher(request: Request, here: Here) -> None:
    """Let monitoring on the same machine in without a log-in; a proxy's requests do not count as such."""
    here_itself = address_of(request).startswith(_LOOPBACK)
    if not here_itself or any(name in request.headers for name in _FORWARDED):
        here.doorkeeper.caller(request)


Poster = Annotated[Visitor, Depends(_poster)]
Writer = Annotated[Visitor, Depends(_writer)]
Watcher = Depends(_watcher)
