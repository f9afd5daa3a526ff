"""TLS to the registry: who shows which certificate, issued by whom, against what this machine trusts.

A proxy that opens TLS shows a certificate of its own for every host: the issuer gives it away.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from appliance.core.clock import SYSTEM
from provisioning.doctor.check import Check
from provisioning.doctor.checks.registry_reach import FAULT_OF
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.handshake import Unproven, said_of, shake
from provisioning.doctor.road import Unreached, reach, road_to
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
_FAULT_OF: Final = {
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
        certificate = shake(
            lambda: reach(road, seconds_max=seconds),
            road.host,
            ssl.create_default_context(),
            expected="an authority of this machine's store",
        )
    except Unreached as error:
        yield wrong(FAULT_OF[error.word], error.sentence)
        return
    except Unproven as error:
        yield wrong(_FAULT_OF.get(error.reason, BROKEN), f"{road.named}: {error.sentence}")
        return
    soon = certificate.not_valid_after_utc.timestamp() - SYSTEM.now() < _WEEK_SECONDS
    yield wrong(SOON, said_of(certificate)) if soon else sound(said_of(certificate))


CHECK = Check(
    id="registry-tls",
    about="TLS to the registry",
    look=_look,
    faults=(EXPIRED, NAME, INSPECTED, BROKEN, SOON, *dict.fromkeys(FAULT_OF.values())),
    needs=("registry-reach", "clock"),
    each=registries,
    seconds_max=30.0,
)
