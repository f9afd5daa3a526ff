"""Pages from templates: always escaped, never with a name that is not there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance.console import text, wording
from appliance.core.words import Outcome, short

_FOLDER = Path(__file__).with_name("templates")


class Pages:
    """The templates, with the words and formats that all of them use."""

    def __init__(self, site_name: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            site_name=site_name,
            version=version("readside"),
            outcomes=wording.OUTCOMES,
            study_states=wording.STUDY_STATES,
            job_states=wording.JOB_STATES,
            delivery_states=wording.DELIVERY_STATES,
            version_states=wording.VERSION_STATES,
            outputs=wording.OUTPUTS,
            not_inference=(Outcome.NOT_ELIGIBLE, Outcome.FAILED, Outcome.NOT_RUN),
        )
        self._environment.filters.update(
            moment=text.moment,
            local=lambda seconds: text.local(seconds).isoformat(timespec="seconds"),
            duration=text.duration,
            size=text.size,
            counted=text.counted,
            line=text.one_line,
            status=wording.status,
            refusal=wording.refusal,
            pseudonym=short,
            named=_named,
        )

    def render(self, name: str, **values: Any) -> str:
        """Return a filled template."""
        return self._environment.get_template(name).render(**values)

    def live(self, name: str, *, address: str, every_seconds: int, **values: Any) -> tuple[str, str]:
        """Return a part that fetches itself again and again, and the mark that says whether it changed."""
        inner = self.render(name, **values)
        mark = hashlib.sha256(inner.encode()).hexdigest()[:16]
        join = "&" if "?" in address else "?"
        outer = self._environment.get_template("live.html")
        return outer.render(inner=inner, address=f"{address}{join}seen={mark}", seconds=every_seconds), mark


def _named(
    states: Mapping[Any, tuple[str, wording.Tone]], counted: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Pair the name of each state with how many are in it."""
    return [(name, counted.get(state, 0)) for state, (name, _) in states.items()]
