"""What answers in the registry's place: its signed lists, a log-in page of the network, or something else."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from appliance.sync.release import DIRECTOR, IMAGE, METADATA
from provisioning.doctor.check import Check
from provisioning.doctor.checks.registry_reach import FAULT_OF
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.road import Answer, Road, Unreached, ask, reach, road_to
from provisioning.doctor.site import Site, registries

PORTAL = Fault(
    id="registry.captive-portal",
    cause="a web page comes in place of the registry: a log-in page or a filter is in between",
    fix="let the box's address pass without a log-in; put the registry's host on the filter's list",
    who=Who.NETWORK,
)
LOGIN = Fault(
    id="registry.proxy-wants-login",
    cause="a proxy wants a log-in before it fetches from the registry (407)",
    fix="let the box's address pass without a log-in, or put user and password into HTTP_PROXY",
    who=Who.NETWORK,
)
NOT_ONE = Fault(
    id="registry.not-a-registry",
    cause="what answers at the address is no registry: its signed lists are not there",
    fix="correct the path of `url` in `[registry]`: it ends where `image` and `director` begin",
    who=Who.TECHNICIAN,
)
FAILS = Fault(
    id="registry.fails",
    cause="the registry, or a proxy before it, answers with an error, or not to the end",
    fix="whoever runs the registry looks into its log at this time",
    who=Who.US,
)
_LISTS: Final = tuple(f"{repository}/{METADATA}/timestamp.json" for repository in (IMAGE, DIRECTOR))
_OK, _MULTIPLE, _BAD, _PROXY_LOGIN, _PORTAL, _SERVER = 200, 300, 400, 407, 511, 500


def _look(site: Site, url: str) -> Iterator[Finding]:
    if url.startswith("file:"):
        folder = Path(url2pathname(unquote(urlsplit(url).path)))
        lacking = [name for name in _LISTS if not (folder / name).is_file()]
        yield wrong(NOT_ONE, f"{folder} has no {lacking[0]}") if lacking else sound("its lists are there")
        return
    road = road_to(url)
    for path in _LISTS:
        try:
            answer = _asked(road, path, site)
        except Unreached as error:
            yield wrong(FAULT_OF[error.word], error.sentence)
            return
        except (OSError, ValueError) as error:
            yield wrong(FAILS, f"{road.named}: {type(error).__name__}")
            return
        if (fault := _judged(answer)) is not None:
            where = f", leads to {urlsplit(answer.location).hostname}" if answer.location else ""
            yield wrong(
                fault, f"{road.named} answers {answer.status} for {path}{where}", status=answer.status
            )
            return
    yield sound(f"{road.named} has the registry's lists")


def _asked(road: Road, path: str, site: Site) -> Answer:
    limits = site.limits
    with reach(road, seconds_max=limits.answer_seconds_max) as line:
        if road.scheme == "http":
            return ask(line, road, path, bytes_max=limits.answer_bytes_max)
        with ssl.create_default_context().wrap_socket(line, server_hostname=road.host) as secured:
            return ask(secured, road, path, bytes_max=limits.answer_bytes_max)


def _judged(answer: Answer) -> Fault | None:
    """Say what is wrong with an answer; None for a signed list."""
    status = answer.status
    if status == _PROXY_LOGIN:
        return LOGIN
    if status == _PORTAL or _MULTIPLE <= status < _BAD or (status == _OK and _is_markup(answer.body)):
        return PORTAL
    if status >= _SERVER:
        return FAILS
    return None if status == _OK and _is_list(answer.body) else NOT_ONE


def _is_markup(body: bytes) -> bool:
    return body.lstrip().startswith(b"<")


def _is_list(body: bytes) -> bool:
    try:
        return "signed" in json.loads(body)
    except (ValueError, TypeError, RecursionError):
        return False


CHECK = Check(
    id="registry-answer",
    about="what answers as the registry",
    look=_look,
    faults=(PORTAL, LOGIN, NOT_ONE, FAILS, *dict.fromkeys(FAULT_OF.values())),
    needs=("registry-reach", "registry-tls"),
    each=registries,
    seconds_max=40.0,
)
