"""The road to the registry: host and port, through the proxy that the box would take; or a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.road import Unreached, reach, road_to
from provisioning.doctor.site import Site, registries

UNKNOWN_HOST = Fault(
    id="registry.unknown-host",
    cause="the registry's host name has no address here",
    fix="let the box ask a name server that knows the name, or correct `url` in `[registry]`",
    who=Who.NETWORK,
)
PORT_CLOSED = Fault(
    id="registry.port-closed",
    cause="the registry's machine answers and refuses the port",
    fix="compare host and port of `url` in `[registry]`; a firewall may refuse in the registry's name",
    who=Who.NETWORK,
)
SILENT = Fault(
    id="registry.silent",
    cause="nobody answers at the registry's address: a firewall drops the connection",
    fix="open the firewall from the box to this host and port, or name the site's proxy in the environment",
    who=Who.NETWORK,
)
NO_ROUTE = Fault(
    id="registry.no-route",
    cause="the network knows no way from the box to the registry",
    fix="look at the box's gateway; a box without a network takes its models from a stick",
    who=Who.NETWORK,
)
PROXY_DOWN = Fault(
    id="registry.proxy-unreachable",
    cause="the proxy that the environment names does not answer",
    fix="correct HTTPS_PROXY, or NO_PROXY, in the environment of the box's services",
    who=Who.NETWORK,
)
PROXY_LOGIN = Fault(
    id="registry.proxy-login",
    cause="the proxy wants a log-in before it lets the box through (407)",
    fix="let the box's address pass without a log-in, or put user and password into HTTPS_PROXY",
    who=Who.NETWORK,
)
PROXY_BLOCKS = Fault(
    id="registry.proxy-blocks",
    cause="the proxy does not let the box through to the registry",
    fix="put the registry's host and port on the proxy's list of what is allowed",
    who=Who.NETWORK,
)
FOLDER = Fault(
    id="registry.folder-missing",
    cause="the folder that stands for the registry is not there",
    fix="put the stick in, mount the share, or correct `url` in `[registry]`",
    who=Who.TECHNICIAN,
)
FAULT_OF: Final = {
    "unknown_host": UNKNOWN_HOST,
    "refused": PORT_CLOSED,
    "silent": SILENT,
    "no_route": NO_ROUTE,
    "proxy_unknown_host": PROXY_DOWN,
    "proxy_refused": PROXY_DOWN,
    "proxy_silent": PROXY_DOWN,
    "proxy_no_route": PROXY_DOWN,
    "proxy_login": PROXY_LOGIN,
    "proxy_blocks": PROXY_BLOCKS,
}


def _look(site: Site, url: str) -> Iterator[Finding]:
    if url.startswith("file:"):
        folder = Path(url2pathname(unquote(urlsplit(url).path)))
        yield sound(f"{folder} is there") if folder.is_dir() else wrong(FOLDER, str(folder))
        return
    road = road_to(url)
    try:
        reach(road, seconds_max=site.limits.connect_seconds_max).close()
    except Unreached as error:
        yield wrong(FAULT_OF[error.word], error.sentence, host=road.host, port=road.port)
        return
    yield sound(f"{road.named} takes the connection", host=road.host, port=road.port)


CHECK = Check(
    id="registry-reach",
    about="the road to the registry",
    look=_look,
    faults=(
        UNKNOWN_HOST,
        PORT_CLOSED,
        SILENT,
        NO_ROUTE,
        PROXY_DOWN,
        PROXY_LOGIN,
        PROXY_BLOCKS,
        FOLDER,
    ),
    needs=("configuration",),
    each=registries,
    seconds_max=30.0,
)
