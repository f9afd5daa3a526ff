"""A configuration out of answers: its text, and each fault at the step that it belongs to.

Promises: the same answers give the same bytes; what is checked is what is written, read back.
Never: puts a claim code or a password into the text.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from appliance.core.config import ConfigError, parse
from appliance.core.packages import every_package, highest
from appliance.routes.table import compile_routes
from provisioning.firstboot.answers import Answers
from provisioning.firstboot.steps import STEPS, Value

_HEAD = (
    "# Readside: the configuration of one box, written at first boot.\n"
    "# Check it with `readside check-config FILE`."
)
_ANY_SERIES = "true"
# Whose answers a table of the configuration is made of, by how its faults begin.
_STEP_OF: Final[Mapping[str, str]] = {
    "site.time_zone": "time",
    "site": "site",
    "storage": "storage",
    "console": "account",
    "dicom": "dicom",
    "peers": "pacs",
    "routes": "models",
    "model": "models",
    "registry": "registry",
}
LAST = "acceptance"


def compose(answers: Answers, *, roots: Path) -> str:
    """Return the configuration as TOML; `roots` is where the box keeps what the registry gives it."""
    return "\n\n".join([_HEAD + _skips(answers), *_tables(answers, roots)]) + "\n"


def faults_of(answers: Answers, *, roots: Path) -> dict[str, list[str]]:
    """Return what is wrong with the whole configuration, by step; what belongs to none stands at the last."""
    try:
        config = parse(tomllib.loads(compose(answers, roots=roots)))
        compile_routes(config)
    except ConfigError as error:
        found: dict[str, list[str]] = {}
        for fault in error.faults:
            found.setdefault(_step(fault), []).append(fault)
        return found
    return {}


def warnings_of(answers: Answers) -> list[str]:
    """Return what will not work, of steps that were skipped."""
    return [f"{step.title} was skipped. {step.skipped}" for step in STEPS if step.key in answers.skipped]


def _step(fault: str) -> str:
    return next((step for start, step in _STEP_OF.items() if fault.startswith(start)), LAST)


def _skips(answers: Answers) -> str:
    lines = [f"# Skipped: {key}: {answers.skipped[key]}" for key in _in_order(answers.skipped)]
    return "".join(f"\n{line}" for line in lines)


def _in_order(keys: Mapping[str, str]) -> list[str]:
    return [step.key for step in STEPS if step.key in keys]


def _tables(answers: Answers, roots: Path) -> Iterator[str]:
    zone = answers.of("time").get("time_zone")
    site: dict[str, Value] = {"name": answers.of("site").get("name", "Readside")}
    yield _table("[site]", site | ({"time_zone": zone} if zone else {}))
    if dicom := answers.of("dicom"):
        yield _table("[dicom]", dicom)
    pacs = answers.of("pacs")
    if pacs:
        yield _table("[[peers]]", _peer(pacs))
    yield _table("[storage]", answers.of("storage") or {"root": "/var/lib/readside"})
    for name in _names(answers):
        send_to = (str(pacs["name"]),) if pacs else ()
        route = {"name": name, "when": _accepted().get(name, _ANY_SERIES), "model": name, "send_to": send_to}
        yield _table("[[routes]]", route)
    if registry := answers.of("registry"):
        known = {"url": registry["url"], "device": registry["slot"], "roots": str(roots)}
        yield _table("[registry]", known)
    if account := answers.of("account"):
        user = {"name": account["user"], "password_hash": account["password_hash"]}
        yield _table("[[console.users]]", user)


def _peer(pacs: Mapping[str, Value]) -> dict[str, Value]:
    may = ("store", "query") if pacs["query"] else ("store",)
    named = {key: pacs[key] for key in ("name", "ae_title", "host", "port")}
    return {**named, "may": may, "outputs": pacs["outputs"]}


def _names(answers: Answers) -> tuple[str, ...]:
    names = answers.of("models").get("names", ())
    return names if isinstance(names, tuple) else ()


@functools.cache
def _accepted() -> Mapping[str, str]:
    """Return what each model that ships accepts."""
    packages, _ = every_package(())
    return {name: package.manifest.accepts.when or _ANY_SERIES for name, package in highest(packages).items()}


def _table(head: str, values: Mapping[str, Value]) -> str:
    return "\n".join([head, *(f"{key} = {_written(value)}" for key, value in values.items())])


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(one) for one in value) + "]"
    return _text(value)


def _text(value: str) -> str:
    """Write a basic string (TOML 1.0): whatever ends it, or a line, is escaped."""
    return '"' + "".join(_character(one) for one in value) + '"'


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    return f"\\u{ord(one):04x}" if ord(one) < 0x20 or ord(one) == 0x7F else one
