"""The box's ports: answered by its own services where they run, and free for them where they do not."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from appliance.core.config import Config
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.road import Unreached, connect
from provisioning.doctor.site import LISTENER, Site

TAKEN = Fault(
    id="ports.taken",
    cause="another program has a port that the box is to listen on",
    fix="stop the other program (`ss -ltnp` names it), or give the box another port and tell the PACS",
    who=Who.TECHNICIAN,
)
RESERVED = Fault(
    id="ports.reserved",
    cause="the box may not listen on a port: below 1024 it needs a right, and an address must be its own",
    fix="choose 11112, or give the unit the right (AmbientCapabilities=CAP_NET_BIND_SERVICE)",
    who=Who.TECHNICIAN,
)
CLOSED = Fault(
    id="ports.closed",
    cause="a service runs and its port does not answer",
    fix="look into the service's log for what it listens on; it may have been started with another file",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    found = [
        _answers(site, name, host, port) if site.runs(service) else _free(name, host, port)
        for service, name, host, port in ports_of(site.config)
    ]
    wrong_ones = [one for one in found if one is not None]
    yield from wrong_ones
    if not wrong_ones:
        yield sound(", ".join(f"{name} {port}" for _, name, _, port in ports_of(site.config)))


def ports_of(config: Config) -> list[tuple[str, str, str, int]]:
    """Return every port that the box opens: service, key in the configuration, host, port."""
    tls, web = config.dicom.tls, config.dicomweb
    found = []
    if tls is None or tls.plain:
        found.append((LISTENER, "dicom.port", config.dicom.host, config.dicom.port))
    if tls is not None:
        found.append((LISTENER, "dicom.tls.port", config.dicom.host, tls.port))
    if web.port is not None:
        found.append((LISTENER, "dicomweb.port", web.host, web.port))
    found.append(("console", "console.port", config.console.host, config.console.port))
    # Port 0 is whichever is free.
    return [one for one in found if one[3]]


def here(host: str) -> str:
    """Return an address by which this machine reaches a host that it listens on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def _answers(site: Site, name: str, host: str, port: int) -> Finding | None:
    try:
        connect(here(host), port, seconds_max=site.limits.connect_seconds_max).close()
    except Unreached as error:
        return wrong(CLOSED, f"{name}: {error.sentence}", port=port)
    return None


def _free(name: str, host: str, port: int) -> Finding | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return wrong(TAKEN, f"{name} {host}:{port}", port=port)
        return wrong(RESERVED, f"{name} {host}:{port}: {error.strerror}", port=port)
    return None


CHECK = Check(
    id="ports",
    about="the box's own ports",
    look=_look,
    faults=(TAKEN, RESERVED, CLOSED),
    # Whose ports they are is known by what runs.
    needs=("configuration", "services"),
    seconds_max=30.0,
)
