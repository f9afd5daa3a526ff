"""How a device comes into a slot, stays in it and leaves it: invited, enrolled, renewed, replaced, revoked.

Promises: one invitation lets one key in; who takes an occupied slot over revokes who was there, in the same
transaction; a device whose certificate ended comes back only when a person lets it.
Never: says why a code is not taken: unknown slot, wrong, used, locked and over look the same from outside.
Lets a key come back that was replaced, revoked or decommissioned.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core import log
from appliance.disk.durable import make_folder, write_file
from appliance.ledger.engine import Tx
from appliance.sync.release import is_name
from appliance.sync.signing import device_id
from provisioning.identity import code as codes
from provisioning.identity.code import CodeFault, Invitation
from provisioning.registry import ca, promote
from provisioning.registry.book import Book
from provisioning.registry.ca import Made, Request
from provisioning.registry.database import audit, certificates, claims, devices, fleet
from provisioning.registry.database.certificates import Issued, Return
from provisioning.registry.database.claims import Claim
from provisioning.registry.database.devices import Device, Slot
from provisioning.registry.database.engine import Database
from provisioning.registry.database.fleet import Line
from provisioning.registry.database.words import DeviceState
from provisioning.registry.faults import RegistryFault

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
DAY_SECONDS = 86_400
CODE_DAYS = 7
_DEVICE = "device"
_ANCHOR_CHARACTERS = 32
_PAGE_ROWS = 500
_SAME_SECONDS = 60.0


class NotLetIn(Exception):
    """No certificate is made; the word is for the log and the answer, `unauthorised` says nothing more."""

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.word, self.sentence = word, sentence


@dataclass(frozen=True, kw_only=True)
class Office:
    """One registry's signed tree and its database, for whoever works on its devices."""

    book: Book
    database: Database

    def now(self) -> float:
        """Return the time, in epoch seconds."""
        return self.book.clock.now()

    def authorities(self) -> list[ca.Authority]:
        """Return the authorities that hold, the newest first; the first is made on first need.

        Raises:
            RegistryFault: there are none here to use.
        """
        folder = self.book.layout.authority
        if not any(folder.glob("*.crt")):
            with self.book.alone():
                self._online()
                return ca.authorities(folder, now=self.now())
        return ca.authorities(folder, now=self.now())

    def digest(self, slot: str, code: str) -> str:
        """Return what is kept of a code: a digest that nobody can make without the server's key.

        Raises:
            RegistryFault: the key is not here.
        """
        path = self.book.layout.claim_key
        if not path.exists():
            with self.book.alone():
                self._online()
                if not path.exists():
                    make_folder(path.parent)
                    write_file(path, secrets.token_hex(32).encode())
        return hmac.new(path.read_bytes(), f"{slot}\0{code}".encode(), hashlib.sha256).hexdigest()

    def anchor(self) -> str:
        """Return the start of a digest over what a device is given to believe: roots and authorities."""
        files = [self.book.lists(repository).root_bytes() for repository in sorted(promote.ROOTS)]
        return anchor_of(files, [_pem(one) for one in self.authorities()])

    def _online(self) -> None:
        if not self.book.layout.online.is_dir():
            raise RegistryFault(f"{self.book.folder}: the server's keys (online/) are not here")


def anchor_of(roots: list[bytes], authorities: list[str]) -> str:
    """Return the start of a digest over both roots, in the order of their names, and authorities in PEM."""
    digest = hashlib.sha256()
    for part in (*roots, *(pem.encode() for pem in sorted(authorities))):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:_ANCHOR_CHARACTERS]


def invite(
    office: Office, slot: Slot, *, url: str, who: str, replaces: bool = False, days: float = CODE_DAYS
) -> Invitation:
    """Invite a device into a slot, which is made if there is none; earlier invitations to it are withdrawn.

    Raises:
        RegistryFault: the slot is retired, or occupied and `replaces` is not given; its name cannot be one.
    """
    code = codes.make()
    digest, anchor = office.digest(slot.name, code), office.anchor()
    promote.make_known(office.book, slot.name)
    now = office.now()
    with office.database.write() as tx:
        if not devices.add_slot(tx, slot, at=now):
            _free(tx, slot.name, replaces=replaces)
        claims.add(
            tx,
            slot=slot.name,
            digest=digest,
            replaces=replaces,
            at=now,
            expires_at=now + days * DAY_SECONDS,
        )
        why = "to replace the device there" if replaces else ""
        audit.note(tx, at=now, who=who, act="claim.invite", subject=slot.name, why=why)
    return Invitation(url=url, slot=slot.name, code=code, anchor=anchor)


def enrol(office: Office, slot: str, code: str, request: Request) -> Made:
    """Let the holder of a code in, and make the certificate of the key in its request.

    The same key may come again with the same code while it holds: an answer that was lost costs no visit.

    Raises:
        NotLetIn: unauthorised, occupied or known.
        RegistryFault: this server cannot make certificates.
    """
    device, now = device_id(request.public_pem), office.now()
    try:
        # A slip of the pen is found by its check characters; only whole codes count as tries.
        digest = office.digest(slot, codes.read(code)) if is_name(slot) else ""
    except CodeFault:
        digest = ""
    if not digest:
        raise _not_taken()
    made = office.authorities()[0].issue(request, slot, now=now)
    with office.database.write() as tx:
        claim = claims.tried(tx, slot, digest, at=now)
        if claim is not None and claim.serves(device, now):
            last = certificates.newest(tx, device)
            if claim.used_at is not None and last is not None:
                return ca.made_before(last.pem)
            refusal = _enrolled(tx, claim, device, request, made, now)
        else:
            refusal = _not_taken()
            _count(tx, slot, now)
    if refusal is not None:
        raise refusal
    _log.info("device.enrolled", slot=slot, device=device[:12])
    return made


def renew(office: Office, device: str, request: Request) -> Made | None:
    """Make another certificate for a device that signed for it; none while a person must let it come back.

    Within a minute the same one comes again: a request that somebody repeats makes no rows.

    Raises:
        NotLetIn: it is not enrolled, or asks for another key's certificate.
        RegistryFault: this server cannot make certificates.
    """
    if device_id(request.public_pem) != device:
        raise NotLetIn("key", "the request is of another key than the one that signed for it")
    now = office.now()
    authority = office.authorities()[0]
    with office.database.write() as tx:
        found, last = devices.find(tx, device), certificates.newest(tx, device)
        if found is None or found.state is not DeviceState.ENROLLED or last is None:
            raise NotLetIn("unauthorised", "this device is not enrolled here")
        if now >= last.ends_at:
            back = certificates.ask_back(tx, device, at=now)
            if back.approved_at is None:
                return None
            certificates.came_back(tx, device)
            audit.note(tx, at=now, who=_DEVICE, act="device.came_back", subject=found.slot, after=device)
        elif now - last.begins_at < ca.DEFAULT.early_seconds + _SAME_SECONDS:
            return ca.made_before(last.pem)
        made = authority.issue(request, found.slot, now=now)
        certificates.add(tx, _issued(made, device, found.slot))
    return made


def approve(office: Office, device: str, *, who: str, why: str = "") -> None:
    """Let a device come back whose certificate ended.

    Raises:
        RegistryFault: it does not ask for that.
    """
    now = office.now()
    with office.database.write() as tx:
        if not certificates.approve(tx, device, at=now):
            raise RegistryFault("no device of this id asks to come back, or it was let already")
        audit.note(tx, at=now, who=who, act="device.approve", subject=device, why=why)


def asking(office: Office) -> list[tuple[Return, str]]:
    """Return who asks to come back, each with its slot, the longest waiting first."""
    with office.database.read() as tx:
        found = [(one, devices.find(tx, one.device)) for one in certificates.asking(tx)]
    return [(one, device.slot) for one, device in found if device is not None]


def standing(office: Office) -> Iterator[tuple[Line, float | None]]:
    """Give every slot in use, by name, with the end of its device's certificate in epoch seconds."""
    after = ""
    while True:
        with office.database.read() as tx:
            page = fleet.lines(tx, after=after, limit=_PAGE_ROWS)
            last = [certificates.newest(tx, line.device) if line.device else None for line in page]
        for line, issued in zip(page, last, strict=True):
            yield line, None if issued is None else issued.ends_at
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1].slot


def enrolled(office: Office) -> list[str]:
    """Return the ids of the devices that are enrolled."""
    with office.database.read() as tx:
        return [device.id for device in devices.every(tx)]


def end(office: Office, device: str, state: DeviceState, *, who: str, why: str = "") -> Device:
    """Revoke a device's certificates for good; its slot is free for another, its assignment stays.

    Raises:
        RegistryFault: it is not known, or ended already.
    """
    now = office.now()
    with office.database.write() as tx:
        found = devices.find(tx, device)
        if found is None or found.state not in (DeviceState.ENROLLED, DeviceState.PENDING):
            raise RegistryFault("no device of this id is enrolled here")
        devices.set_state(tx, device, state)
        certificates.revoke(tx, device, at=now)
        certificates.came_back(tx, device)
        act = "device.decommission" if state is DeviceState.DECOMMISSIONED else "device.revoke"
        audit.note(tx, at=now, who=who, act=act, subject=found.slot, before=device, why=why)
    return found


def welcome(office: Office, slot: str) -> Mapping[str, object]:
    """Return what the device of a slot is given to believe: roots, floors, authorities.

    Raises:
        RegistryFault: the director does not know the slot.
    """
    files = {name: data.decode() for name, data in promote.given(office.book, slot).items()}
    return {
        "slot": slot,
        "files": files,
        "authorities": [_pem(one) for one in office.authorities()],
        "now": int(office.now()),
    }


def bagged(office: Office, made: Made) -> str:
    """Return a certificate and the authorities as base64 of PKCS #7 (RFC 7030 section 4.2.3)."""
    return base64.encodebytes(
        ca.bag([made.certificate, *(one.certificate for one in office.authorities())])
    ).decode()


def _enrolled(tx: Tx, claim: Claim, device: str, request: Request, made: Made, now: float) -> NotLetIn | None:
    """Put a device into its slot; return why not."""
    here = devices.device_of(tx, claim.slot)
    if devices.find(tx, device) is not None:
        return NotLetIn("known", "this key was enrolled before: make another with --new-key")
    if here is not None:
        if not claim.replaces:
            return NotLetIn("occupied", "the slot has a device: invite with --replace to put another there")
        certificates.revoke(tx, here.id, at=now)
        certificates.came_back(tx, here.id)
    pem = request.public_pem.decode()
    former = devices.enrol(tx, device, slot=claim.slot, serial=request.serial, public_key=pem, at=now)
    certificates.add(tx, _issued(made, device, claim.slot))
    claims.use(tx, claim, device, at=now)
    audit.note(
        tx,
        at=now,
        who=_DEVICE,
        act="device.enrol",
        subject=claim.slot,
        before=former.id if former is not None else "",
        after=device,
    )
    return None


def _count(tx: Tx, slot: str, now: float) -> None:
    """Note that an invitation was locked, once, when it was."""
    claim = claims.newest(tx, slot)
    if claim is not None and claim.tries == claims.TRIES_MAX and claim.withdrawn_at is None:
        claims.withdraw(tx, slot, at=now)
        audit.note(tx, at=now, who=_DEVICE, act="claim.lock", subject=slot, why="too many wrong codes")


def _free(tx: Tx, name: str, *, replaces: bool) -> None:
    slot = devices.slot(tx, name)
    if slot is None or slot.retired_at is not None:
        raise RegistryFault(f"the slot {name} is retired")
    if devices.device_of(tx, name) is not None and not replaces:
        raise RegistryFault(f"the slot {name} has a device: invite with --replace to put another there")


def _not_taken() -> NotLetIn:
    _log.warning("claim.refused")
    return NotLetIn("unauthorised", "the slot or the claim code is not taken")


def _issued(made: Made, device: str, slot: str) -> Issued:
    return Issued(
        serial=made.serial,
        device=device,
        slot=slot,
        pem=made.pem,
        begins_at=made.begins_at,
        ends_at=made.ends_at,
    )


def _pem(authority: ca.Authority) -> str:
    return authority.certificate.public_bytes(Encoding.PEM).decode()
