"""Answers that are not the thing that was asked for, as a JSON sentence.

No answer repeats what was sent. `Fault`, `Turned` and `LogInNeeded` are the console's.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from appliance.console.access import LogInNeeded, Turned
from appliance.console.faults import Fault
from appliance.core import log

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
BASIC = {"www-authenticate": 'Basic realm="Readside registry", charset="UTF-8"'}


def install(app: FastAPI) -> None:
    """Teach an application how to answer what went wrong."""

    def fault(_request: Request, error: Any) -> Response:
        return answer(error.status, error.sentence)

    def turned(_request: Request, error: Any) -> Response:
        headers = {"retry-after": str(error.wait_seconds)} if error.wait_seconds else {}
        return answer(error.status, error.sentence, headers)

    def log_in(_request: Request, _error: Any) -> Response:
        return answer(401, "Log in first.", BASIC)

    def web(_request: Request, error: Any) -> Response:
        return answer(error.status_code, HTTPStatus(error.status_code).phrase, error.headers)

    def invalid(_request: Request, error: Any) -> Response:
        said = "; ".join(
            f"{'.'.join(str(step) for step in f['loc'][1:])}: {f['msg']}" for f in error.errors()
        )
        return answer(422, said[:1000])

    def unforeseen(_request: Request, error: Any) -> Response:
        _log.error("registry.fault", error=type(error).__name__)
        return answer(500, "The registry met a fault of its own; it is in the log.")

    app.add_exception_handler(Fault, fault)
    app.add_exception_handler(Turned, turned)
    app.add_exception_handler(LogInNeeded, log_in)
    app.add_exception_handler(HTTPException, web)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer a request that cannot be granted."""
    return JSONResponse({"error": sentence}, status, headers=headers)
