"""Answers that are not the thing that was asked for: a JSON sentence for programs, a page for people.

No answer repeats what was sent. `Fault`, `Turned` and `LogInNeeded` are the console's.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from appliance.console.access import LogInNeeded, Turned
from appliance.console.faults import Fault
from appliance.core import log

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
BASIC = {"www-authenticate": 'Basic realm="Readside registry", charset="UTF-8"'}


Page = Callable[[Request, int, str], Response]
_NOTHING = "There is nothing under this address."
# Where people come; everything else is for programs and devices.
_FOR_PEOPLE = frozenset(
    {"", "login", "logout", "static", "devices", "models", "rollouts", "alerts", "people", "audit"}
)


def install(app: FastAPI, page: Page) -> None:
    """Teach an application how to answer what went wrong; `page` answers people."""

    def say(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
        if not for_people(request):
            return answer(status, sentence, headers)
        made = page(request, status, sentence)
        made.headers.update(headers or {})
        return made

    def fault(request: Request, error: Any) -> Response:
        return say(request, error.status, error.sentence)

    def turned(request: Request, error: Any) -> Response:
        headers = {"retry-after": str(error.wait_seconds)} if error.wait_seconds else {}
        return say(request, error.status, error.sentence, headers)

    def log_in(request: Request, _error: Any) -> Response:
        if not for_people(request):
            return answer(401, "Log in first.", BASIC)
        wanted = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/login?next={quote(wanted)}", 303)

    def web(request: Request, error: Any) -> Response:
        sentence = HTTPStatus(error.status_code).phrase
        return say(request, error.status_code, sentence, error.headers)

    def invalid(request: Request, error: Any) -> Response:
        if for_people(request) and any(one["loc"][0] == "path" for one in error.errors()):
            return page(request, 404, _NOTHING)
        said = "; ".join(
            f"{'.'.join(str(step) for step in f['loc'][1:])}: {f['msg']}" for f in error.errors()
        )
        return say(request, 422, said[:1000])

    def unforeseen(request: Request, error: Any) -> Response:
        _log.error("registry.fault", error=type(error).__name__)
        return say(request, 500, "The registry met a fault of its own; it is in the log.")

    app.add_exception_handler(Fault, fault)
    app.add_exception_handler(Turned, turned)
    app.add_exception_handler(LogInNeeded, log_in)
    app.add_exception_handler(HTTPException, web)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def for_people(request: Request) -> bool:
    """Say whether a person asked, and not a program."""
    return request.url.path.split("/")[1] in _FOR_PEOPLE


def answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer a request that cannot be granted."""
    return JSONResponse({"error": sentence}, status, headers=headers)
