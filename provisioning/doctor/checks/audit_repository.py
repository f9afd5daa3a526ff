"""The audit repository: its host, its port, and the certificate that it proves itself with (RFC 5425)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.handshake import Unproven, authorities_in, said_of, shake
from provisioning.doctor.road import Unreached, connect
from provisioning.doctor.site import Site

UNREACHABLE = Fault(
    id="audit-repository.unreachable",
    cause="the audit repository cannot be reached; what it should get waits on the box",
    fix="compare host and port in `[audit]`, and open the firewall from the box to them",
    who=Who.NETWORK,
)
UNPROVEN = Fault(
    id="audit-repository.unproven",
    cause="the audit repository does not prove itself, so it is sent nothing",
    fix="compare the issuers; put the right authority into `ca` of `[audit]`, or have it renewed",
    who=Who.TECHNICIAN,
)


def _look(site: Site, host: str) -> Iterator[Finding]:
    audit, seconds = site.config.audit, site.limits.connect_seconds_max
    assert audit.ca is not None, "a host is given with an authority"
    try:
        certificate = shake(
            lambda: connect(host, audit.port, seconds_max=seconds),
            host,
            ssl.create_default_context(cafile=str(audit.ca)),
            expected=authorities_in(audit.ca),
        )
    except Unreached as error:
        yield wrong(UNREACHABLE, error.sentence, host=host, port=audit.port)
    except Unproven as error:
        yield wrong(UNPROVEN, error.sentence)
    except OSError as error:
        yield wrong(UNPROVEN, f"audit.ca cannot be used ({type(error).__name__})")
    else:
        yield sound(f"{host}:{audit.port} is proven, {said_of(certificate)}")


def _each(site: Site) -> list[str]:
    return [site.config.audit.host] if site.config.audit.host else []


CHECK = Check(
    id="audit-repository",
    about="the audit repository",
    look=_look,
    faults=(UNREACHABLE, UNPROVEN),
    needs=("configuration", "clock"),
    each=_each,
    seconds_max=30.0,
)
