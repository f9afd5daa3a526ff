"""The log-in page, the link that logs in once, and the way out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from appliance.console.access import SESSION_COOKIE, Turned, address_of
from appliance.console.faults import Fault
from appliance.console.forms import FORM_COOKIE, local_path
from appliance.console.room import Here, Poster

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(request: Request, here: Here, next: str = "/") -> Response:
    """Show the log-in form."""
    return _form(request, here, local_path(next))


@router.post("/login")
def log_in(
    request: Request,
    here: Here,
    user: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    csrf: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Open a session for a name and a password."""
    wanted = local_path(next)
    if not here.form_key.holds(request.cookies.get(FORM_COOKIE, ""), csrf):
        return _form(request, here, wanted, status=403, fault="This page was too old. Please try once more.")
    try:
        token = here.doorkeeper.log_in(user, password, address_of(request))
    except Turned as turned:
        answer = _form(request, here, wanted, status=turned.status, fault=turned.sentence)
        if turned.wait_seconds:
            answer.headers["retry-after"] = str(turned.wait_seconds)
        return answer
    return _welcome(request, here, token, wanted)


@router.get("/login/once/{token}")
def log_in_once(request: Request, here: Here, token: str, next: str = "/") -> Response:
    """Open a session with a one-time link and go on to a path of this site."""
    return _welcome(request, here, here.doorkeeper.log_in_once(token, address_of(request)), local_path(next))


@router.post("/logout")
def log_out(here: Here, visitor: Poster) -> Response:
    """End the session."""
    here.doorkeeper.log_out(visitor)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/logout")
def no_link_out() -> Response:
    """Refuse to end a session by a mere link."""
    raise Fault(405, "Use the button to log out.")


def _form(request: Request, here: Here, wanted: str, *, status: int = 200, fault: str = "") -> HTMLResponse:
    nonce = request.cookies.get(FORM_COOKIE) or here.form_key.nonce()
    page = here.pages.render(
        "login.html",
        fault=fault,
        wanted=wanted,
        csrf=here.form_key.proof(nonce),
        users=bool(here.config.console.users),
    )
    answer = HTMLResponse(page, status)
    _set(request, answer, FORM_COOKIE, nonce, here.limits.form_seconds)
    return answer


def _welcome(request: Request, here: Here, token: str, wanted: str) -> Response:
    answer = RedirectResponse(quote(wanted, safe="/?&=.%-_~"), 303)
    _set(request, answer, SESSION_COOKIE, token, here.limits.session_seconds)
    return answer


def _set(request: Request, answer: Response, name: str, value: str, seconds: float) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(
        name, value, max_age=int(seconds), path="/", httponly=True, samesite="strict", secure=secure
    )
