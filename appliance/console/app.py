"""The console as one ASGI application; `appliance.console.serve` serves it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from appliance.console import api, browse, buttons, faults, leaving, login, metrics, probes, view
from appliance.console.access import Doorkeeper
from appliance.console.forms import FormKey
from appliance.console.guard import Guard
from appliance.console.limits import DEFAULT, Limits
from appliance.console.models import Models
from appliance.console.pages import Pages
from appliance.console.passwords import Passwords
from appliance.console.preview.desk import Desk
from appliance.console.room import Room
from appliance.console.snapshot import Watch
from appliance.console.throttle import Throttle
from appliance.console.viewings import Viewings
from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.core.config import Config
from appliance.ledger.engine import Ledger

_log = log.get("console")
_STATIC = Path(__file__).with_name("static")


def create_app(
    *,
    ledger: Ledger,
    config: Config,
    spool_root: Path,
    clock: Clock = SYSTEM,
    limits: Limits = DEFAULT,
    left: leaving.Left | None = None,
) -> FastAPI:
    """Make the console: pages, API, probes and metrics.

    Args:
        ledger: an open ledger; the console writes only tokens, events, and what a person's button asks for.
        config: the whole configuration; users, site name and routes are read from it.
        spool_root: the folder that the ledger's file names are relative to.
        clock: where the time comes from.
        limits: the bounds.
        left: where what left this site is kept; none: nothing is shown.
    """
    # No interactive documentation: it would load its code from another machine.
    app = FastAPI(
        title="Readside", version=version("readside"), docs_url=None, redoc_url=None, openapi_url=None
    )
    watch = Watch(ledger, config, spool_root=spool_root, clock=clock, limits=limits)
    users = config.console.users
    app.state.room = Room(
        ledger=ledger,
        config=config,
        spool_root=spool_root,
        clock=clock,
        limits=limits,
        doorkeeper=Doorkeeper(
            ledger,
            Passwords(users, clock, limits),
            Throttle([user.name for user in users], clock, limits),
            clock,
            limits,
        ),
        form_key=FormKey(),
        viewings=Viewings(ledger, clock, limits),
        watch=watch,
        models=Models(ledger, config),
        pages=Pages(config.site.name),
        desk=Desk(ledger, spool_root, limits),
        left=left,
    )
    app.state.registry = metrics.registry(watch)
    for part in (probes, login, buttons, browse, leaving, view, api):
        app.include_router(part.router)
    app.mount("/static", _Static(directory=_STATIC), name="static")
    faults.install(app, app.state.room.pages)
    app.add_exception_handler(Exception, _fault)
    app.add_middleware(Guard, limits=limits)
    return app


class _Static(StaticFiles):
    """The files that pages load; they hold no patient data, so a browser may keep them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "no-cache"
        return answer


def _fault(_request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; the text of the error may hold anything, so only its kind is written."""
    _log.error("console.fault", error=type(error).__name__)
    headers = {"cache-control": "no-store", "content-security-policy": "default-src 'none'"}
    return JSONResponse(
        {"error": "The console met a fault of its own; it is in the log."}, 500, headers=headers
    )
