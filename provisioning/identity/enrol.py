"""A box is claimed: its key is born on it, and it comes into a slot with an invitation.

Promises: what is written makes the box claimed with the certificate, which is written last; what was there
before stays until then. A second try with the same invitation goes on with the same key.
Never: sends the key. Believes roots that are not those of the invitation, where it names them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import make_folder, remove_file, write_file
from appliance.disk.erase import erase_file
from appliance.sync import softkey, tpm
from appliance.sync.csr import request_for
from appliance.sync.est import Answer, Desk, Welcome, issued_by
from appliance.sync.identity import CERTIFICATE_FILE, KEY_FILE, TPM_FILE, Certificate, key_in
from appliance.sync.line import LINE, Declined, LineLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.renewal import AUTHORITIES_FILE, NEW_FILE
from appliance.sync.signing import Signer
from appliance.sync.softkey import KeyFault
from appliance.sync.unreadable import NO_JSON
from provisioning.identity.code import Invitation
from provisioning.registry.enrolment import anchor_of
from provisioning.registry.promote import FLOORS, ROOTS

FILES = (*ROOTS.values(), FLOORS)


class Home(StrEnum):
    """Where a key is born."""

    AUTO = "auto"
    FILE = "file"
    TPM = "tpm"


class EnrolFault(Exception):
    """The box was not claimed; the sentence says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A box that was claimed: its slot, its key's id and where the key is, its certificate."""

    slot: str
    device: str
    home: Home
    certificate: Certificate


def enrol(
    roots: Path,
    invitation: Invitation,
    *,
    home: Home = Home.AUTO,
    new_key: bool = False,
    serial: str = "",
    clock: Clock = SYSTEM,
    limits: LineLimits = LINE,
) -> Claimed:
    """Come into a slot over the network, and keep what the box is given in `roots`.

    Raises:
        EnrolFault: the registry was not reached or did not let the box in, or what it gives is not believed.
        NoSpace, DiskFault: the disk is full or failed.
    """
    _safe(invitation)
    try:
        key = born(roots, home, new_key=new_key)
        desk = Desk(url=invitation.url, key=key, clock=clock, limits=limits)
        answer = desk.enrol(
            invitation.slot, invitation.code, request_for(key, invitation.slot, serial=serial)
        )
        welcome = desk.welcome()
        believe(invitation, answer, welcome)
    except KeyFault as fault:
        raise EnrolFault(str(fault)) from fault
    except Refusal as refusal:
        raise EnrolFault(_said(refusal)) from refusal
    keep(roots, answer.certificate, welcome)
    return Claimed(slot=invitation.slot, device=key.id, home=home_in(roots), certificate=answer.certificate)


def _safe(invitation: Invitation) -> None:
    """Refuse a line without TLS, where the invitation does not say what to believe."""
    try:
        parts = urlsplit(invitation.url)
        host = parts.hostname or ""
    except ValueError as error:
        raise EnrolFault("the registry's address is none") from error
    if parts.scheme == "http" and not invitation.anchor and host not in ("127.0.0.1", "::1", "localhost"):
        raise EnrolFault(
            "without TLS anybody on the line could give this box other roots: take an https:// address, or"
            " the whole invitation, which names them"
        )


def born(roots: Path, home: Home, *, new_key: bool = False) -> Signer:
    """Return the key of this box, which is made if there is none; with `new_key` another takes its place.

    Raises:
        KeyFault: it cannot be made.
        Refusal: NOT_CLAIMED, what is there cannot be used.
    """
    if new_key:
        forget_key(roots)
    elif (key := key_in(roots)) is not None:
        return key
    make_folder(roots)
    in_tpm = home is Home.TPM or (home is Home.AUTO and tpm.available())
    return tpm.make(roots / TPM_FILE) if in_tpm else softkey.make(roots / KEY_FILE)


def forget_key(roots: Path) -> None:
    """Remove the certificate and then its key, which was of use nowhere else."""
    if not roots.is_dir():
        return
    for name in (CERTIFICATE_FILE, NEW_FILE, TPM_FILE):
        remove_file(roots / name)
    erase_file(roots / KEY_FILE)


def home_in(roots: Path) -> Home:
    """Return where the key of this box is."""
    return Home.TPM if (roots / TPM_FILE).exists() else Home.FILE


def believe(invitation: Invitation, answer: Answer, welcome: Welcome) -> None:
    """Hold what the registry gives against the invitation.

    Raises:
        Refusal: WRONG_KEY or UNKNOWN_FORM.
    """
    if welcome.slot != invitation.slot or set(welcome.files) != set(FILES):
        raise Refusal(Word.UNKNOWN_FORM, "the registry's welcome is of another slot, or not whole")
    if not issued_by(answer.certificate.pem, welcome.authorities):
        raise Refusal(Word.WRONG_KEY, "the certificate is of none of the authorities that the registry names")
    files = [welcome.files[ROOTS[name]] for name in sorted(ROOTS)]
    if invitation.anchor and anchor_of(files, list(welcome.authorities)) != invitation.anchor:
        raise Refusal(
            Word.WRONG_KEY,
            "the registry gives other roots than the invitation names: somebody is in between, or its keys"
            " were changed since; ask for a new invitation",
        )


def keep(roots: Path, certificate: Certificate, welcome: Welcome) -> None:
    """Write what the box is given; the certificate last, which makes it claimed."""
    make_folder(roots)
    for name in FILES:
        write_file(roots / name, _highest(roots, welcome) if name == FLOORS else welcome.files[name])
    write_file(roots / AUTHORITIES_FILE, "".join(sorted(welcome.authorities)).encode())
    write_file(roots / CERTIFICATE_FILE, certificate.pem)


def _highest(roots: Path, welcome: Welcome) -> bytes:
    """Return the floors that the registry gives, raised by those of a backup of the same registry.

    Of the same: its list of releases is signed by the same keys. A floor of another would lock the box out.
    """
    given, kept = _floors(welcome.files[FLOORS]), None
    with suppress(OSError, EnrolFault):
        kept = _floors((roots / FLOORS).read_bytes())
    if kept is None or kept["targets_keys"] != given["targets_keys"]:
        return welcome.files[FLOORS]
    counters = {
        name: max(kept["counters"].get(name, 0), given["counters"].get(name, 0))
        for name in sorted({*kept["counters"], *given["counters"]})
    }
    raised = {name: max(kept[name], given[name]) for name in ("clock_at", "targets_version")}
    return json.dumps({**given, **raised, "counters": counters}, indent=1).encode()


def _floors(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
        if not isinstance(said["counters"], dict) or not isinstance(said["targets_keys"], list):
            raise ValueError("not in our form")
        return {**said, "clock_at": float(said["clock_at"]), "targets_version": int(said["targets_version"])}
    except (*NO_JSON, KeyError, TypeError) as error:
        raise EnrolFault("the floors that the registry gives cannot be read") from error


def _said(refusal: Refusal) -> str:
    """Return what a technician is told."""
    reason = refusal.reason if isinstance(refusal, Declined) else ""
    told = {
        "unauthorised": "the registry does not take this slot and code: mistyped, used, locked after five"
        " wrong tries, over after its days, or withdrawn; ask for a new invitation",
        "occupied": "the slot has a device: ask for an invitation that says replace",
        "known": "this box's key was enrolled before: run the command again with --new-key",
    }
    return told.get(reason, f"{refusal.word}: {refusal.sentence}")
