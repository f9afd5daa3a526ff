"""The log-in page, the way out, and the two files that pages load.

Before there is a session, the cookie of the log-in form stands in its place: its proof follows from it, so
that any of several processes knows it.
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from appliance.console import forms
from appliance.console.access import Turned, Visitor, address_of
from appliance.console.faults import Fault
from appliance.console.forms import FORM_COOKIE, local_path
from appliance.console.limits import DEFAULT as CONSOLE_LIMITS
from provisioning.registry.database import accounts
from provisioning.registry.database.words import Role
from provisioning.registry.server.access import SESSION_COOKIE, Person
from provisioning.registry.server.pages.frame import CONSOLE, CSRF_CHARACTERS_MAX, bare, presser
from provisioning.registry.server.room import Here, Room

router = APIRouter(include_in_schema=False)
_FILES = {"readside.css": "text/css", "icon.svg": "image/svg+xml"}
_FORM_COOKIE = f"{FORM_COOKIE}_registry"
_CHARACTERS_MAX = 1_024
_Text = Annotated[str, Form(max_length=_CHARACTERS_MAX)]
_Proof = Annotated[str, Form(max_length=CSRF_CHARACTERS_MAX)]


@router.get("/login")
def form(request: Request, here: Here, next: str = "/") -> Response:
    """Show the log-in form."""
    return _form(request, here, local_path(next))


@router.post("/login")
def log_in(
    request: Request,
    here: Here,
    user: _Text = "",
    password: _Text = "",
    csrf: _Proof = "",
    next: _Text = "/",
) -> Response:
    """Open a session for a name and a password."""
    wanted = local_path(next)
    if not forms.holds(_stranger(request.cookies.get(_FORM_COOKIE, "")), csrf):
        return _form(request, here, wanted, status=403, said="This page was too old. Please try once more.")
    try:
        token = here.doorkeeper.log_in(user, password, address_of(request))
    except Turned as turned:
        refused = _form(request, here, wanted, status=turned.status, said=turned.sentence)
        if turned.wait_seconds:
            refused.headers["retry-after"] = str(turned.wait_seconds)
        return refused
    answer = RedirectResponse(quote(wanted, safe="/?&=.%-_~"), 303)
    _set(request, here, answer, SESSION_COOKIE, token, here.limits.session_seconds)
    return answer


@router.post("/logout")
def log_out(here: Here, who: Annotated[Person, presser(Role.VIEWER)]) -> Response:
    """End the session."""
    here.doorkeeper.log_out(who)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/static/{name}")
def file(name: str) -> Response:
    """Return a file that pages load; there are two, and they are the console's."""
    if name not in _FILES:
        raise Fault(404, "There is nothing under this address.")
    kept = {"cache-control": "no-cache"}
    return FileResponse(CONSOLE / "static" / name, media_type=_FILES[name], headers=kept)


def _stranger(nonce: str) -> Visitor:
    return Visitor(name="", session=nonce)


def _form(request: Request, here: Room, wanted: str, *, status: int = 200, said: str = "") -> HTMLResponse:
    nonce = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    with here.database.read() as tx:
        anybody = any(one.disabled_at is None for one in accounts.every(tx))
    page = {"said": said, "wanted": wanted, "csrf": _stranger(nonce).csrf, "anybody": anybody}
    answer = bare("enter.html", status=status, **page)
    _set(request, here, answer, _FORM_COOKIE, nonce, CONSOLE_LIMITS.form_seconds)
    return answer


def _set(request: Request, here: Room, answer: Response, name: str, value: str, seconds: float) -> None:
    secure = here.setting.secure or request.url.scheme == "https"
    answer.set_cookie(
        name, value, max_age=int(seconds), path="/", httponly=True, samesite="strict", secure=secure
    )
