"""What lets a box's connections through, and no others: a table for nftables, and addresses for the units.

Both are made from the same list, and both need numbers: names are looked up when they are made.

Promises: who may reach the box's ports is who the configuration names; what the user of the services may call
is what it names, and the rest is counted and dropped.
Never: touches another table of the machine, or a port that is not the box's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.core.addresses import is_loopback, is_number
from appliance.services.run import NAMES, SYNC, TELEMETRY
from provisioning.host.flows import ANYBODY, EVERY, Flow, Way

TABLE, USER = "readside", "readside"
# Those who speak with peers: listener and conductor ask them too, for what never arrived.
_WITH_PEERS = ("listener", "courier", "conductor")
SERVICES = (*NAMES, SYNC, TELEMETRY)
_STATE = "/var/lib/readside"
_HEAD = "# Made by `readside provision firewall` from the configuration; make it anew when that changes."

Resolve = Callable[[str], Sequence[str]]
Numbers = Mapping[str, Sequence[str]]


class UnknownName(Exception):
    """A name of the configuration that nobody knows; carries the name."""


@dataclass(frozen=True, kw_only=True)
class Firewall:
    """The two kinds of files: an nftables script, and a drop-in for each service that speaks with others."""

    table: str
    units: dict[str, str]


def looked_up(name: str) -> list[str]:
    """Return the addresses of a host, in a stable order.

    Raises:
        UnknownName: it has none.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnknownName(name) from error
    return sorted({str(entry[4][0]) for entry in found})


def firewall_of(
    flows: Sequence[Flow], *, storage_root: str, nameservers: Sequence[str] = (), resolve: Resolve = looked_up
) -> Firewall:
    """Make the files for the flows of a box; `nameservers` are those that the machine asks for names.

    Raises:
        UnknownName: a host of the configuration is unknown.
    """
    named = {flow.address for flow in flows if flow.address and not _moves(flow)}
    numbers = {address: _numbers(address, resolve) for address in named}
    asked = nameservers if any(flow.protocol == "DNS" for flow in flows) else ()
    return Firewall(table=_table(flows, numbers), units=_units(flows, numbers, storage_root, asked))


def nameservers_of(resolv_conf: str) -> list[str]:
    """Return whom a machine asks for names, by the text of its resolv.conf(5)."""
    lines = (line.split() for line in resolv_conf.splitlines())
    return [
        words[1] for words in lines if len(words) > 1 and words[0] == "nameserver" and is_number(words[1])
    ]


def _moves(flow: Flow) -> bool:
    """Say whether a host's addresses may change from day to day, as those of a registry's do."""
    return flow.service in (SYNC, TELEMETRY) and not is_number(flow.address)


def _numbers(address: str, resolve: Resolve) -> tuple[str, ...]:
    return (address,) if is_number(address) else tuple(resolve(address))


def _table(flows: Sequence[Flow], numbers: Numbers) -> str:
    lines = [
        "#!/usr/sbin/nft -f",
        _HEAD,
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        "    chain inward {",
        "        type filter hook input priority filter; policy accept;",
        "        ct state established,related accept",
        '        iif "lo" accept',
        *_rules(_inwards(flows, numbers)),
        *(f"        tcp dport {port} counter drop" for port in _ports(flows, Way.IN)),
        "    }",
        "    chain outward {",
        "        type filter hook output priority filter; policy accept;",
        f"        meta skuid != {USER} accept",
        "        ct state established,related accept",
        '        oif "lo" accept',
        *_rules(_outwards(flows, numbers)),
        "        counter reject with icmpx admin-prohibited",
        "    }",
        "}",
        "",
    ]
    return "\n".join(lines)


def _rules(rules: Iterable[str]) -> list[str]:
    return [f"        {rule}" for rule in dict.fromkeys(rules)]


def _inwards(flows: Sequence[Flow], numbers: Numbers) -> Iterable[str]:
    for flow in flows:
        if flow.way is Way.IN and flow.port and not _is_local(flow):
            yield from _allowed("saddr", flow, numbers)


def _outwards(flows: Sequence[Flow], numbers: Numbers) -> Iterable[str]:
    for flow in flows:
        # The clock is kept by the machine's own user, and names are looked up by whoever needs them.
        if flow.way is Way.OUT and not is_loopback(flow.address) and flow.protocol != "NTP":
            yield from _allowed("daddr", flow, numbers)


def _allowed(side: str, flow: Flow, numbers: Numbers) -> Iterable[str]:
    port = f"{flow.transport} dport {flow.port} accept"
    if flow.address == ANYBODY or _moves(flow):
        yield port
        return
    for address in numbers[flow.address]:
        family = "ip6" if ":" in address else "ip"
        yield f"{family} {side} {address} {port}"


def _ports(flows: Sequence[Flow], way: Way) -> list[int]:
    return sorted({flow.port for flow in flows if flow.way is way and flow.port})


def _is_local(flow: Flow) -> bool:
    """Say whether a port is bound to loopback, where nobody else can come."""
    return is_loopback(flow.address) and not flow.peer


def _units(
    flows: Sequence[Flow], numbers: Numbers, storage_root: str, nameservers: Sequence[str]
) -> dict[str, str]:
    return {
        service: "\n".join([_HEAD, "[Service]", *lines, ""])
        for service in SERVICES
        if (lines := [*_addresses(service, flows, numbers, nameservers), *_storage(service, storage_root)])
    }


def _addresses(
    service: str, flows: Sequence[Flow], numbers: Numbers, nameservers: Sequence[str]
) -> Iterable[str]:
    own = [flow for flow in flows if _concerns(service, flow)]
    if not own:
        return
    if service == "worker":
        # Its unit gives it no network at all.
        yield "PrivateNetwork=no"
        yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    if any(flow.address == ANYBODY or _moves(flow) for flow in own):
        yield "IPAddressAllow=any"
        return
    for address in dict.fromkeys([*(n for flow in own for n in numbers[flow.address]), *nameservers]):
        yield f"IPAddressAllow={address}"


def _storage(service: str, root: str) -> Iterable[str]:
    if root == _STATE:
        return
    if service == TELEMETRY:
        # It sees nothing of the box's data but its own folder, wherever that lies.
        yield f"TemporaryFileSystem={root}:mode=0755"
        yield f"BindPaths={root}/telemetry"
        yield f"ReadWritePaths={root}/telemetry"
    else:
        yield f"ReadWritePaths={root}"


def _concerns(service: str, flow: Flow) -> bool:
    if flow.peer:
        return service in _WITH_PEERS
    return flow.service in (service, EVERY)
