"""The pages of a first boot as one ASGI application; they need no script.

Promises: nothing but the door, style and icon without a session; whatever was typed is escaped; a form counts
only if it came from a page of this session.
Never: puts a secret into a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.staticfiles import StaticFiles

import appliance.console
from appliance.console.forms import FORM_COOKIE
from appliance.console.guard import Guard
from appliance.console.limits import DEFAULT as CONSOLE
from appliance.console.text import one_line
from appliance.core.log import get
from appliance.disk.durable import DiskFault, NoSpace
from provisioning.firstboot.compose import warnings_of
from provisioning.firstboot.desk import Desk
from provisioning.firstboot.finish import FinishFault
from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.notes import note_of
from provisioning.firstboot.steps import KEYS, STEPS, Kind, Step, step_of
from provisioning.firstboot.values import AnswerFault

SESSION_COOKIE = "readside_first_boot"
_STATIC = Path(appliance.console.__file__).with_name("static")
_STYLE = Path(__file__).with_name("static")
_TOO_OLD = "This page was too old. Please try once more."
_log = get("first-boot")


async def _form(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=DEFAULT.fields_max)


Form = Annotated[FormData, Depends(_form)]


class Out(Exception):
    """Nobody is in with this request."""


class Pages:
    """The handlers of one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._environment = Environment(
            loader=PackageLoader("provisioning.firstboot"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(version=version("readside"), steps=STEPS, Kind=Kind)
        self._environment.filters["line"] = one_line

    def door(self, request: Request) -> Response:
        """Show the door; whoever is in goes on where he was."""
        if self._desk.door.knows(request.cookies.get(SESSION_COOKIE, "")):
            return _to(self._next())
        return self._door(request)

    def enter(self, request: Request, form: Form) -> Response:
        """Let somebody in who has the claim code."""
        if not self._desk.form_key.holds(request.cookies.get(FORM_COOKIE, ""), _word(form, "csrf")):
            return self._door(request, status=403, fault=_TOO_OLD)
        token = self._desk.door.enter(_word(form, "code"))
        if not token:
            _log.warning("first-boot.refused")
            wait = self._desk.door.waits_seconds()
            if wait > 0:
                sentence = f"Too many wrong codes. The page is locked for {math.ceil(wait / 60)} min."
                return self._door(request, status=429, fault=sentence)
            return self._door(request, status=401, fault="This is not the claim code of this box.")
        answer = _to(self._next())
        _set(request, answer, SESSION_COOKIE, token)
        return answer

    def step(self, request: Request, key: str) -> Response:
        """Show a step."""
        self._inside(request)
        if key not in KEYS:
            return _to("/")
        return self._step(request, step_of(key))

    def answer(self, request: Request, key: str, form: Form) -> Response:
        """Take the answers to a step, or the reason for skipping it."""
        self._inside(request)
        if key not in KEYS:
            return _to("/")
        step = step_of(key)
        if not self._is_ours(request, form):
            return self._step(request, step, status=403, faults=[_TOO_OLD])
        try:
            with self._desk.lock:
                if _word(form, "do") == "skip":
                    self._desk.sitting.skip(step, _word(form, "reason"))
                else:
                    self._desk.sitting.answer(step, _raw(step, form))
        except AnswerFault as fault:
            return self._step(request, step, status=422, faults=fault.faults, typed=_raw(step, form))
        except (NoSpace, DiskFault, OSError) as fault:
            return self._step(request, step, status=507, faults=[f"The answers cannot be kept: {fault}"])
        return _to(self._next(after=key))

    def last(self, request: Request) -> Response:
        """Show everything that was answered, and what it makes."""
        self._inside(request)
        return self._last(request)

    def finish(self, request: Request, form: Form) -> Response:
        """Write the configuration and enrol the box."""
        self._inside(request)
        if not self._is_ours(request, form):
            return self._last(request, status=403, faults=[_TOO_OLD])
        try:
            with self._desk.lock:
                done = self._desk.finish()
        except AnswerFault as fault:
            return self._last(request, status=422, faults=fault.faults)
        except (FinishFault, NoSpace, DiskFault, OSError) as fault:
            return self._last(request, status=409, faults=[str(fault)])
        return self._page(request, "done.html", done=done)

    def end(self, request: Request, form: Form) -> Response:
        """End the page."""
        self._inside(request)
        if self._is_ours(request, form):
            self._desk.end()
        return self._page(request, "ended.html")

    def _inside(self, request: Request) -> None:
        if not self._desk.door.knows(request.cookies.get(SESSION_COOKIE, "")):
            raise Out

    def _is_ours(self, request: Request, form: FormData) -> bool:
        return self._desk.form_key.holds(request.cookies.get(SESSION_COOKIE, ""), _word(form, "csrf"))

    def _next(self, after: str = "") -> str:
        """Return where to go on: the next step that is open, else the last page."""
        answers = self._desk.sitting.answers
        later = STEPS[KEYS.index(after) + 1 :] if after else STEPS
        step = next((one for one in later if answers.is_open(one.key)), None) or answers.first_open()
        return f"/step/{step.key}" if step else "/last"

    def _door(self, request: Request, *, status: int = 200, fault: str = "") -> Response:
        nonce = request.cookies.get(FORM_COOKIE) or self._desk.form_key.nonce()
        page = self._render("door.html", fault=fault, csrf=self._desk.form_key.proof(nonce))
        answer = HTMLResponse(page, status)
        _set(request, answer, FORM_COOKIE, nonce)
        return answer

    def _step(
        self,
        request: Request,
        step: Step,
        *,
        status: int = 200,
        faults: list[str] | None = None,
        typed: Mapping[str, object] | None = None,
    ) -> Response:
        sitting = self._desk.sitting
        shown: dict[str, Any] = dict(sitting.shown(step))
        for question in step.questions:
            if typed is not None and not question.secret:
                shown[question.key] = typed.get(question.key, "")
        # An invitation holds the claim code.
        if "#" in str(shown.get("url", "")):
            shown["url"] = ""
        return self._page(
            request,
            "step.html",
            status=status,
            step=step,
            note=note_of(step),
            faults=faults or [],
            shown=shown,
            reason=sitting.answers.skipped.get(step.key, ""),
            kept=bool(sitting.answers.of(step.key)),
        )

    def _last(self, request: Request, *, status: int = 200, faults: list[str] | None = None) -> Response:
        sitting = self._desk.sitting
        hidden = str(sitting.answers.of("account").get("password_hash", ""))
        text = sitting.text.replace(hidden, "...") if hidden else sitting.text
        return self._page(
            request,
            "last.html",
            status=status,
            faults=faults or [],
            by_step=sitting.faults(),
            warnings=warnings_of(sitting.answers),
            text=text,
            config=str(sitting.config),
            address=sitting.answers.of("network").get("address", ""),
        )

    def _page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        csrf = self._desk.form_key.proof(request.cookies.get(SESSION_COOKIE, ""))
        page = self._render(name, csrf=csrf, answers=self._desk.sitting.answers, **values)
        return HTMLResponse(page, status)

    def _render(self, name: str, **values: Any) -> str:
        return self._environment.get_template(name).render(**values)


def application(desk: Desk) -> FastAPI:
    """Make the application of one desk."""
    app = FastAPI(title="Readside first boot", docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(desk)
    for path, method, handler in (
        ("/", "GET", pages.door),
        ("/", "POST", pages.enter),
        ("/step/{key}", "GET", pages.step),
        ("/step/{key}", "POST", pages.answer),
        ("/last", "GET", pages.last),
        ("/last", "POST", pages.finish),
        ("/end", "POST", pages.end),
    ):
        app.add_api_route(path, handler, methods=[method], response_model=None)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.mount("/style", StaticFiles(directory=_STYLE), name="style")
    app.add_exception_handler(Out, lambda _request, _error: _to("/"))
    app.add_middleware(Guard, limits=CONSOLE)
    return app


def _word(form: FormData, key: str) -> str:
    value = form.get(key)
    return value if isinstance(value, str) else ""


def _raw(step: Step, form: FormData) -> dict[str, object]:
    """Return what a form says of each question of a step."""
    return {
        question.key: (
            [word for word in form.getlist(question.key) if isinstance(word, str)]
            if question.kind is Kind.MANY
            else _word(form, question.key)
        )
        for question in step.questions
    }


def _to(where: str) -> Response:
    return RedirectResponse(where, 303)


def _set(request: Request, answer: Response, name: str, value: str) -> None:
    answer.set_cookie(
        name, value, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
