"""TLS to the registry: who shows which certificate, issued by whom, against what this machine trusts.

A proxy that opens TLS shows a certificate of its own for every host: the issuer gives it away.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from appliance.core.clock import SYSTEM
from dicom_node.tls import reason_of
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.road import Road, Unreached, certificate_shown, name_in, reach, road_to
from provisioning.doctor.site import Site, registries

EXPIRED = Fault(
    id="registry.certificate-expired",
    cause="the registry's certificate has expired, or is not valid yet",
    fix="whoever runs the registry has to put a new certificate in place",
    who=Who.US,
)
NAME = Fault(
    id="registry.certificate-name",
    cause="what answers shows a certificate for another name than the registry's",
    fix="correct the host of `url` in `[registry]`, or find out who answers in the registry's place",
    who=Who.NETWORK,
)
INSPECTED = Fault(
    id="registry.tls-inspected",
    cause="the registry's certificate was issued by somebody whom this machine does not trust: most likely "
    "a proxy or firewall that opens TLS stands in between",
    fix="take the registry's host out of TLS inspection; if it is the registry's own authority, put that "
    "into this machine's store",
    who=Who.NETWORK,
)
BROKEN = Fault(
    id="registry.tls-broken",
    cause="no TLS comes about with the registry",
    fix="compare the port of `url` in `[registry]`; a firewall may cut connections that it cannot open",
    who=Who.NETWORK,
)
SOON = Fault(
    id="registry.certificate-expires-soon",
    cause="the registry's certificate expires within a week",
    fix="whoever runs the registry should have it renewed by now",
    who=Who.US,
    grave=False,
)
_BY_REASON: Final = {
    "expired": EXPIRED,
    "not_yet_valid": EXPIRED,
    "wrong_name": NAME,
    "foreign_ca": INSPECTED,
}
_WEEK_SECONDS: Final = 7 * 86_400.0


def _look(site: Site, url: str) -> Iterator[Finding]:
    if not url.startswith("https:"):
        yield sound("the registry's lists are signed; the line itself is in the clear")
        return
    road, seconds = road_to(url), site.limits.connect_seconds_max
    try:
        with (
            reach(road, seconds_max=seconds) as line,
            ssl.create_default_context().wrap_socket(line, server_hostname=road.host) as secured,
        ):
            data = secured.getpeercert(binary_form=True) or b""
    except Unreached as error:
        yield not_looked_at(error.sentence, because="registry.silent")
        return
    except OSError as error:
        reason = reason_of(error)
        yield wrong(_BY_REASON.get(reason, BROKEN), f"{reason} at {road.named}; {_shown(road, seconds)}")
        return
    certificate = x509.load_der_x509_certificate(data)
    until = certificate.not_valid_after_utc
    said = f"valid until {until:%Y-%m-%d}, issued by {name_in(certificate.issuer)}"
    soon = until.timestamp() - SYSTEM.now() < _WEEK_SECONDS
    yield wrong(SOON, said) if soon else sound(said)


def _shown(road: Road, seconds: float) -> str:
    try:
        with reach(road, seconds_max=seconds) as line:
            found = certificate_shown(line, road.host)
    except Unreached:
        found = None
    if found is None:
        return "no certificate was shown"
    return (
        f"shown: {name_in(found.subject)}, issued by {name_in(found.issuer)}; expected: {road.host}, issued "
        "by an authority of this machine's store"
    )


CHECK = Check(
    id="registry-tls",
    about="TLS to the registry",
    look=_look,
    faults=(EXPIRED, NAME, INSPECTED, BROKEN, SOON),
    needs=("registry-reach", "clock"),
    each=registries,
    seconds_max=30.0,
)
