"""What all pages share: the templates, who may load one and who may press a button, and how old it all is.

Look, formats and stylesheet are the console's (`appliance.console`). There is no script.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

import appliance.console
from appliance.console import forms, text
from appliance.console.faults import Fault
from provisioning.registry.database import alerts, fleet
from provisioning.registry.database.words import Role
from provisioning.registry.server.access import Person
from provisioning.registry.server.pages import words
from provisioning.registry.server.room import Here, Room, held

CONSOLE = Path(appliance.console.__file__).parent
CSRF_CHARACTERS_MAX = 128
_ID_CHARACTERS = 12


def _environment() -> Environment:
    # What is not here is the console's: its bits, and the plain page of a log-in or a fault.
    folders = (Path(__file__).with_name("templates"), CONSOLE / "templates")
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(version=version("readside"), words=words, Role=Role)
    made.filters.update(
        moment=text.moment,
        local=lambda seconds: text.local(seconds).isoformat(timespec="seconds"),
        duration=text.duration,
        counted=text.counted,
        line=text.one_line,
        short=lambda device: device[:_ID_CHARACTERS],
    )
    return made


_TEMPLATES = _environment()


def bare(name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page for somebody who is not known: the log-in, a fault."""
    return HTMLResponse(_TEMPLATES.get_template(name).render(**values), status)


def shown(here: Room, who: Person, name: str, **values: Any) -> HTMLResponse:
    """Return a page for a person."""
    with here.database.read() as tx:
        heard, opened = fleet.newest_heard(tx), sum(alerts.open_by_kind(tx).values())
    frame: dict[str, Any] = {
        "who": who,
        "csrf": who.csrf,
        "now": here.clock.now(),
        "heard": heard,
        "opened": opened,
    }
    return bare(name, **frame, **values)


def fault(request: Request, status: int, sentence: str) -> Response:
    """Answer with a page what a person asked for and cannot have."""
    return bare("refused.html", status=status, code=status, sentence=sentence)


def visitor(needed: Role) -> Any:
    """Return a dependency: who is logged in by the cookie of a session, with at least this role."""

    def _visitor(request: Request, here: Here) -> Person:
        return held(here.doorkeeper.person(request), needed)

    return Depends(_visitor)


def presser(needed: Role) -> Any:
    """Return a dependency for buttons: as `visitor`, with the proof that the form is of this session."""

    def _presser(
        request: Request, here: Here, csrf: Annotated[str, Form(max_length=CSRF_CHARACTERS_MAX)] = ""
    ) -> Person:
        person = here.doorkeeper.person(request)
        if not forms.holds(person, csrf):
            raise Fault(403, "This form did not come from a page of this session. Load the page again.")
        return held(person, needed)

    return Depends(_presser)


Visitor = Annotated[Person, visitor(Role.VIEWER)]
