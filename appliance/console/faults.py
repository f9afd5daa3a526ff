"""Answers that are not the thing that was asked for: as a page for people, as a JSON sentence for programs.

No answer ever repeats what was sent: it may hold patient data.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from appliance.console.access import LogInNeeded, Turned
from appliance.console.pages import Pages
from appliance.core import log
from appliance.ledger.reading import LedgerFault

_log = log.get("console")
_FOR_PROGRAMS = ("/api/", "/health/", "/metrics")
_SENTENCES = {
    404: "There is nothing under this address.",
    405: "This address does not take that method.",
}


class Fault(Exception):
    """Something cannot be done; `sentence` says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def install(app: FastAPI, pages: Pages) -> None:
    """Teach an application how to answer what went wrong."""

    def fault(request: Request, error: Any) -> Response:
        return answer(request, pages, error.status, error.sentence)

    def turned(request: Request, error: Any) -> Response:
        headers = {"retry-after": str(error.wait_seconds)} if error.wait_seconds else {}
        return answer(request, pages, error.status, error.sentence, headers)

    def web(request: Request, error: Any) -> Response:
        sentence = _SENTENCES.get(error.status_code) or HTTPStatus(error.status_code).phrase
        return answer(request, pages, error.status_code, sentence)

    def invalid(request: Request, error: Any) -> Response:
        if any(fault["loc"][0] == "path" for fault in error.errors()):
            return answer(request, pages, 404, _SENTENCES[404])
        return answer(request, pages, 422, _sentence(error.errors()))

    def ledger_fault(request: Request, error: Any) -> Response:
        _log.error("console.ledger_fault", error=type(error).__name__)
        sentence = (
            "The ledger does not answer, so nothing can be shown or recorded. See the disk and the log."
        )
        return answer(request, pages, 503, sentence)

    app.add_exception_handler(Fault, fault)
    app.add_exception_handler(Turned, turned)
    app.add_exception_handler(LogInNeeded, _log_in)
    app.add_exception_handler(HTTPException, web)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(LedgerFault, ledger_fault)


def answer(
    request: Request, pages: Pages, status: int, sentence: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer a request that cannot be granted."""
    if for_programs(request):
        extra = {"www-authenticate": 'Basic realm="Readside", charset="UTF-8"'} if status == 401 else {}
        return JSONResponse({"error": sentence}, status, headers={**extra, **(headers or {})})
    page = pages.render("fault.html", status=status, sentence=sentence)
    return HTMLResponse(page, status, headers=dict(headers or {}))


def for_programs(request: Request) -> bool:
    """Say whether a program asked, not a person."""
    return request.url.path.startswith(_FOR_PROGRAMS)


def _log_in(request: Request, _error: Exception) -> Response:
    if for_programs(request):
        # To a page's own script the browser would answer with a prompt of its own, over the page.
        from_page = request.headers.get("sec-fetch-dest") == "empty"
        headers = {} if from_page else {"www-authenticate": 'Basic realm="Readside", charset="UTF-8"'}
        return JSONResponse({"error": "Log in first."}, 401, headers=headers)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": "/login"})
    wanted = request.url.path if request.method == "GET" else "/"
    return RedirectResponse(f"/login?next={quote(wanted)}", 303)


def _sentence(faults: Any) -> str:
    return "; ".join(f"{'.'.join(str(step) for step in f['loc'][1:])}: {f['msg']}" for f in faults)[:1000]
