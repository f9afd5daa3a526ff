"""Every connection that a configuration means: who calls whom, on which port, for what.

The one list from which the firewall, the units' addresses and the papers for the hospital are made.

Promises: a port or an address that the configuration names stands here.
Never: resolves a name or opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from appliance.core.addresses import is_loopback, is_number
from appliance.core.config import Config
from appliance.services.run import SYNC, TELEMETRY

ANYBODY = ""
# What each service of the box does.
EVERY = "every"
_HTTP, _HTTPS = 80, 443
_POSTGRESQL, _NTP, _DNS = 5432, 123, 53


class Way(StrEnum):
    """Who opens the connection."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One kind of connection.

    Attributes:
        service: of the box, that listens or calls; "every" for each of them, "system" for the machine's own.
        address: of the other end, a host name or an IP address; empty: anybody's.
        port: of whoever listens; 0 is one that the system picks.
        transport: "tcp" or "udp".
        protocol: what is spoken.
        tls: whether under TLS.
        purpose: what for, in a few words.
        patient_data: whether it carries any.
        peer: the name of the peer in the configuration, where it is one.
    """

    way: Way
    service: str
    address: str
    port: int
    protocol: str
    purpose: str
    tls: bool = False
    patient_data: bool = False
    transport: str = "tcp"
    peer: str = ""


def flows_of(config: Config) -> list[Flow]:
    """Return every flow of a box, inwards first."""
    return [*_inwards(config), *_to_peers(config), *_to_others(config), *_of_the_system(config)]


def _inwards(config: Config) -> Iterator[Flow]:
    dicom, web, console = config.dicom, config.dicomweb, config.console
    ports = [] if dicom.tls is not None and not dicom.tls.plain else [(dicom.port, False)]
    if dicom.tls is not None:
        ports.append((dicom.tls.port, True))
    for peer in config.peers:
        for port, tls in ports:
            if tls == peer.tls:
                yield Flow(
                    way=Way.IN,
                    service="listener",
                    address=peer.host,
                    port=port,
                    protocol="DICOM",
                    purpose=f"{peer.ae_title} stores images, and asks whether they are kept",
                    tls=tls,
                    patient_data=True,
                    peer=peer.name,
                )
    if web.port is not None:
        yield Flow(
            way=Way.IN,
            service="listener",
            address="127.0.0.1" if is_loopback(web.host) else ANYBODY,
            port=web.port,
            protocol="DICOMweb (STOW-RS)",
            purpose="images are stored",
            tls=web.tls is not None,
            patient_data=True,
        )
    yield Flow(
        way=Way.IN,
        service="console",
        address="127.0.0.1" if is_loopback(console.host) else ANYBODY,
        port=console.port,
        protocol="HTTP",
        purpose="the pages for people, health and metrics",
        patient_data=True,
    )


def _to_peers(config: Config) -> Iterator[Flow]:
    for peer in config.peers:
        if peer.dicomweb is not None:
            yield _call(
                "courier",
                peer.dicomweb,
                "DICOMweb (STOW-RS)",
                f"results go to {peer.name}",
                patient_data=True,
                peer=peer.name,
            )
        if peer.host and peer.port:
            yield Flow(
                way=Way.OUT,
                service="courier",
                address=peer.host,
                port=peer.port,
                protocol="DICOM",
                purpose=f"results go to {peer.ae_title}, and studies are asked for",
                tls=peer.tls,
                patient_data=True,
                peer=peer.name,
            )


def _to_others(config: Config) -> Iterator[Flow]:
    if config.worklist.url is not None:
        yield _call(
            "conductor",
            config.worklist.url,
            "DICOMweb (UPS-RS)",
            "workitems are claimed, and completed with where their results are",
            patient_data=True,
        )
    if config.audit.host:
        yield Flow(
            way=Way.OUT,
            service="audit",
            address=config.audit.host,
            port=config.audit.port,
            protocol="syslog",
            purpose="the audit trail (PS3.15 A.5)",
            tls=True,
            patient_data=True,
        )
    ledger = urlsplit(config.ledger_url)
    if ledger.hostname:
        yield Flow(
            way=Way.OUT,
            service=EVERY,
            address=ledger.hostname,
            port=ledger.port or _POSTGRESQL,
            protocol="PostgreSQL",
            purpose="the ledger",
            patient_data=True,
        )
    named = {url for url in (config.registry.url, *config.registry.mirrors) if url.startswith("http")}
    for url in sorted(named):
        yield _call(SYNC, url, "HTTP", "models come")
    yield from _told(config)
    for url in (server for server in config.inference.kserve if "kserve" in config.inference.engines):
        yield _call(
            "worker",
            url,
            "KServe v2",
            "images without names are analysed on a server of the site",
            patient_data=True,
        )


def _told(config: Config) -> Iterator[Flow]:
    """Yield what the telemetry service calls: the registry, and whom the site wants to be told of alarms."""
    alerts = config.alerts
    calls = [(config.registry.url, "numbers go")] if config.registry.told != "off" else []
    calls += [(alerts.webhook, "alarms are told")] if alerts.webhook else []
    for url, purpose in calls:
        yield _call(TELEMETRY, url, "HTTP", purpose)
    if alerts.mail_host:
        yield Flow(
            way=Way.OUT,
            service=TELEMETRY,
            address=alerts.mail_host,
            port=alerts.mail_port,
            protocol="SMTP",
            purpose="alarms are told",
            tls=alerts.mail_tls != "none",
        )


def _of_the_system(config: Config) -> Iterator[Flow]:
    named = [flow.address for flow in (*_to_peers(config), *_to_others(config))]
    if any(address and not is_number(address) for address in named):
        for transport in ("udp", "tcp"):
            yield Flow(
                way=Way.OUT,
                service="system",
                address=ANYBODY,
                port=_DNS,
                protocol="DNS",
                purpose="names of the configuration are looked up",
                transport=transport,
            )
    yield Flow(
        way=Way.OUT,
        service="system",
        address=ANYBODY,
        port=_NTP,
        protocol="NTP",
        purpose="the clock is kept",
        transport="udp",
    )


def _call(
    service: str, url: str, protocol: str, purpose: str, *, patient_data: bool = False, peer: str = ""
) -> Flow:
    """Return the flow of a call to a URL, whose port may be the usual one."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Flow(
        way=Way.OUT,
        service=service,
        address=parts.hostname or "",
        port=parts.port or (_HTTPS if tls else _HTTP),
        protocol=protocol,
        purpose=purpose,
        tls=tls,
        patient_data=patient_data,
        peer=peer,
    )
