"""A device's certificate is renewed in time: from 30 days before its end, each device on a day of its own.

Promises: the certificate that holds is replaced only by one that was tried: made for this key and slot,
signed by an authority, and of a device that the registry answers.
Never: makes a key; a device keeps the one that it was born with.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.core.clock import SYSTEM, Clock
from appliance.core.config import Config
from appliance.disk.durable import remove_file, write_file
from appliance.sync.csr import request_for
from appliance.sync.est import Answer, Desk, Waits, issued_by
from appliance.sync.identity import CERTIFICATE_FILE, Certificate, certificate_in, certificate_of, identity_in
from appliance.sync.line import LINE, LineLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.softkey import KeyFault

DAY_SECONDS: Final = 86_400.0
AUTHORITIES_FILE: Final = "authorities.pem"
NEW_FILE: Final = f"{CERTIFICATE_FILE}.new"
_DIGITS = 8


class Renewed(StrEnum):
    """What a look at the certificate came to."""

    NONE = "certificate.none"
    HOLDS = "certificate.holds"
    RENEWED = "certificate.renewed"
    WAITS = "certificate.waits"


@dataclass(frozen=True, kw_only=True)
class RenewalLimits:
    """When a certificate is renewed.

    Attributes:
        before_seconds: from when before its end.
        spread_seconds: over how long devices that enrolled together are spread.
    """

    before_seconds: float = 30 * DAY_SECONDS
    spread_seconds: float = 7 * DAY_SECONDS


RENEWAL: Final = RenewalLimits()


def due_at(certificate: Certificate, limits: RenewalLimits = RENEWAL) -> float:
    """Return from when on a certificate is renewed, in epoch seconds; the spread comes from the key's id."""
    share = int(certificate.device[:_DIGITS], 16) / 0x1_0000_0000
    return certificate.ends_at - limits.before_seconds + share * limits.spread_seconds


def renew_if_due(
    config: Config, *, clock: Clock = SYSTEM, force: bool = False, limits: LineLimits = LINE
) -> Renewed:
    """Look at this box's certificate and renew it when it is time, or at once with `force`.

    Raises:
        Refusal: it was due and the registry was not reached, or does not know this device.
        NoSpace, DiskFault: the disk is full or failed.
    """
    roots = config.registry.roots
    certificate, key = certificate_in(roots), identity_in(roots)
    if certificate is None or key is None:
        return Renewed.NONE
    if not force and clock.now() < due_at(certificate):
        return Renewed.HOLDS
    if not os.access(roots, os.W_OK):
        raise Refusal(
            Word.BOX_REFUSED, f"{roots}: this user may not write there; the certificate must be renewed"
        )
    desk = Desk(url=config.registry.url, key=key, clock=clock, limits=limits)
    answer = _left(roots, certificate, now=clock.now())
    if answer is None:
        try:
            answer = desk.renew(certificate.slot, request_for(key, certificate.slot))
        except Waits:
            return Renewed.WAITS
        except KeyFault as fault:
            raise Refusal(Word.BOX_REFUSED, str(fault)) from fault
    keep(roots, answer, desk)
    return Renewed.RENEWED


def keep(roots: Path, answer: Answer, desk: Desk) -> None:
    """Put a certificate aside, try it, and only then let it stand.

    Raises:
        Refusal: the registry does not answer the device of this certificate.
        NoSpace, DiskFault: the disk is full or failed.
    """
    pem = answer.certificate.pem
    write_file(roots / NEW_FILE, pem)
    welcome = desk.welcome()
    if welcome.slot != answer.certificate.slot or not issued_by(pem, welcome.authorities):
        raise Refusal(
            Word.WRONG_KEY, "the registry does not know the certificate that it made as this slot's"
        )
    write_file(roots / AUTHORITIES_FILE, "".join(sorted(welcome.authorities)).encode())
    write_file(roots / CERTIFICATE_FILE, pem)
    remove_file(roots / NEW_FILE)


def _left(roots: Path, former: Certificate, *, now: float) -> Answer | None:
    """Return a certificate that was made before and not tried to the end: another need not be asked for."""
    try:
        pem = (roots / NEW_FILE).read_bytes()
        made = certificate_of(pem)
    except (OSError, ValueError):
        return None
    same = (made.device, made.slot) == (former.device, former.slot)
    if not same or made.ends_at <= former.ends_at or not made.begins_at <= now < due_at(made):
        return None
    return Answer(certificate=made, authorities=())
