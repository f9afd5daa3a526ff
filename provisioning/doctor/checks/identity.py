"""What the box proves itself to its registry with: the key that was born on it, and a certificate for it."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.clock import SYSTEM, as_text
from appliance.sync.identity import certificate_in, identity_of
from appliance.sync.refusal import Refusal
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.site import Site

UNUSABLE = Fault(
    id="identity.unusable",
    cause="the key or the certificate of this box cannot be used, or they do not go together",
    fix="enrol the box anew into its slot: `readside provision enrol`",
    who=Who.TECHNICIAN,
)
EXPIRED = Fault(
    id="identity.expired",
    cause="the certificate by which the registry knows this box has expired; models still come, signed lists "
    "need none",
    fix="renew it: `readside provision renew`; after expiry somebody at the registry has to approve that",
    who=Who.TECHNICIAN,
)
SOON = Fault(
    id="identity.not-renewed",
    cause="the certificate by which the registry knows this box ends soon and was not renewed by itself",
    fix="look why the registry does not answer the box, then `readside provision renew`",
    who=Who.TECHNICIAN,
    grave=False,
)
# It renews itself from thirty days before its end on.
_RENEWED_SECONDS_MIN = 14 * 86_400.0


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    try:
        certificate, key = certificate_in(site.config.registry.roots), identity_of(site.config)
    except Refusal as refusal:
        yield wrong(UNUSABLE, refusal.sentence)
        return
    if certificate is None or key is None:
        yield unknown("this box was not enrolled; it fetches models and tells nothing of itself")
        return
    left = certificate.left_seconds(SYSTEM.now())
    said = f"{certificate.slot}, until {as_text(certificate.ends_at)}"
    if left <= 0:
        yield wrong(EXPIRED, said)
    else:
        yield wrong(SOON, said) if left < _RENEWED_SECONDS_MIN else sound(said)


def _each(site: Site) -> list[str]:
    registry = site.config.registry
    return [registry.device] if registry.url and registry.device is not None else []


CHECK = Check(
    id="identity",
    about="what the box proves itself with",
    look=_look,
    faults=(UNUSABLE, EXPIRED, SOON),
    needs=("configuration", "clock", "storage"),
    each=_each,
)
