"""What time it is elsewhere: by SNTP (RFC 5905 section 14), or by the Date header of the registry.

Promises: bounded waits; an answer of a time server belongs to our question.
Never: sets a clock.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from appliance.core.clock import SYSTEM
from provisioning.doctor.machine import Machine
from provisioning.doctor.road import Unreached, ask, reach, road_to, unproven
from provisioning.doctor.site import Site

_NTP_PORT: Final = 123
# From 1900 to 1970, and one era of NTP.
_NTP_EPOCH: Final = 2_208_988_800
_ERA: Final = 2**32
_PACKET_BYTES: Final = 48
_CLIENT: Final = 0x23  # version 4, mode 3
_SERVER_MODE: Final = 4
_STRATUM_MAX: Final = 15
_SERVERS_ASKED_MAX: Final = 3


@dataclass(frozen=True, kw_only=True)
class Offset:
    """How far a source is ahead of our clock, in seconds, and what it is called."""

    name: str
    seconds: float


def offset_of(site: Site) -> Offset | None:
    """Return how far the clock is off by the first source that answers; None when none does.

    The server that was named, then the registry, then the servers that the machine itself is told of.
    """
    seconds = site.limits.answer_seconds_max
    if site.ntp:
        return _by_ntp(site.ntp, seconds)
    if site.read is not None and site.read.registry.url.startswith("http"):
        found = _by_date(site.read.registry.url, seconds)
        if found is not None:
            return found
    for server in list(_servers(site.machine))[:_SERVERS_ASKED_MAX]:
        if (found := _by_ntp(server, seconds / 2)) is not None:
            return found
    return None


def _servers(machine: Machine) -> Iterator[str]:
    """Yield the time servers that chrony or systemd-timesyncd is told of."""
    files = ["etc/systemd/timesyncd.conf", "etc/chrony/chrony.conf", "etc/chrony.conf"]
    for folder in ("etc/systemd/timesyncd.conf.d", "etc/chrony/sources.d", "etc/chrony/conf.d"):
        files += [f"{folder}/{name}" for name in machine.names(folder)]
    for file in files:
        for line in machine.text(file).splitlines():
            words = line.strip().replace("=", " ", 1).split()
            if len(words) > 1 and words[0] in ("NTP", "server", "pool"):
                yield from words[1:] if words[0] == "NTP" else words[1:2]


def _by_ntp(server: str, seconds_max: float) -> Offset | None:
    host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, int(port or _NTP_PORT), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as line:
            line.settimeout(seconds_max)
            line.connect(address)
            seconds = _exchange(line)
    except (OSError, ValueError):
        return None
    return None if seconds is None else Offset(name=server, seconds=seconds)


def _exchange(line: socket.socket) -> float | None:
    """Ask once, and return the offset (RFC 5905 section 8); None for an answer that is none."""
    # Not our time but a number that nobody can guess: it comes back, and proves whose answer it is.
    mark = secrets.token_bytes(8)
    sent = SYSTEM.now()
    line.send(bytes([_CLIENT]) + bytes(39) + mark)
    answer = line.recv(512)
    came = SYSTEM.now()
    if len(answer) < _PACKET_BYTES or answer[24:32] != mark or answer[0] & 7 != _SERVER_MODE:
        return None
    if not 1 <= answer[1] <= _STRATUM_MAX:
        return None
    received, left = (_seconds(answer[at : at + 8]) for at in (32, 40))
    return ((received - sent) + (left - came)) / 2


def _seconds(stamp: bytes) -> float:
    """Return a time stamp of NTP as epoch seconds; the smaller half of its numbers is the era from 2036."""
    whole = int.from_bytes(stamp[:4], "big")
    fraction = int.from_bytes(stamp[4:], "big")
    era = _ERA if whole < _ERA // 2 else 0
    return whole + era - _NTP_EPOCH + fraction / _ERA


def _by_date(url: str, seconds_max: float) -> Offset | None:
    """Ask for nothing but the head of an answer, and read when it was made (RFC 9110 section 6.6.1)."""
    road = road_to(url)
    try:
        with reach(road, seconds_max=seconds_max) as line:
            if road.scheme == "https":
                with unproven().wrap_socket(line, server_hostname=road.host) as secured:
                    date = ask(secured, road, "", bytes_max=0, verb="HEAD").date
            else:
                date = ask(line, road, "", bytes_max=0, verb="HEAD").date
        seconds = parsedate_to_datetime(date).timestamp() - SYSTEM.now()
    except (Unreached, ssl.SSLError, OSError, ValueError, TypeError):
        return None
    # The header leaves out the fraction of its second.
    return Offset(name=f"the Date of {road.named}", seconds=seconds + 0.5)
