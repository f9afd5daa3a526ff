"""A box leaves the fleet: what its keys protected is made unreadable, and a signed paper says so.

Promises: the paper names each thing with what was done to it, and is signed with the device's key, whose
certificate it carries; the key is erased last, after the paper is on disk.
Never: says more than was done. Files that were removed, and were not under a key that was destroyed, are
called that.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core.clock import SYSTEM, Clock, as_text
from appliance.core.config import Config
from appliance.disk.durable import write_file
from appliance.disk.erase import erase_file
from appliance.disk.folder import remove_folder
from appliance.sync.est import Desk, issued_by
from appliance.sync.identity import KEY_FILE, TPM_FILE, certificate_in, identity_in
from appliance.sync.line import Declined
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import Signer
from appliance.sync.softkey import KeyFault
from appliance.sync.unreadable import NO_CERTIFICATE, NO_JSON
from provisioning.identity.enrol import forget_key

_FORM: Final = 1
_LUKS_SECONDS_MAX: Final = 120.0


class ErasureFault(Exception):
    """The box was not let go; the sentence says why, and what is done already."""


class How(StrEnum):
    """What was done to one thing."""

    LUKS = "key slots of the encrypted disk destroyed: what is on it is unreadable for ever"
    OVERWRITTEN = "file written over and removed"
    UNWRAPPED = "key wrapped by the TPM removed"
    REMOVED = "files removed, which is no erasure of the disk below"


class Told(StrEnum):
    """Whether the registry knows."""

    YES = "told"
    UNKNOWN = "this device is not enrolled there any more"
    NO = "not told"


@dataclass(frozen=True, kw_only=True)
class Leave:
    """What a decommission shall do.

    Attributes:
        luks: encrypted devices, or files with one, whose keys are destroyed.
        remove_data: whether the files below storage.root are removed.
        reason: a line for the paper; no name of a person.
        alone: whether to go on though the registry cannot be told.
    """

    luks: tuple[Path, ...] = ()
    remove_data: bool = False
    reason: str = ""
    alone: bool = False


def decommission(config: Config, leave: Leave, paper: Path, *, clock: Clock = SYSTEM) -> dict[str, Any]:
    """Let a box go, and write the certificate of erasure to `paper`; return what it says.

    The order is: tell the registry, destroy, write the paper, erase the device's key.

    Raises:
        ErasureFault: it was never enrolled, a disk's keys could not be destroyed, or the registry cannot be
            told and `alone` is not given.
        NoSpace, DiskFault: the disk is full or failed.
    """
    roots = config.registry.roots
    try:
        key, certificate = identity_in(roots), certificate_in(roots)
    except Refusal as refusal:
        raise ErasureFault(refusal.sentence) from refusal
    if key is None or certificate is None:
        raise ErasureFault("this box was never enrolled: there is no key to erase, nor one to sign with")
    _can_erase(leave, paper, config)
    _can_sign(key)
    told = _told(config, key, clock, alone=leave.alone)
    done = [*_luks(leave.luks), *_tls_keys(config), *_data(config, leave)]
    own = TPM_FILE if (roots / TPM_FILE).exists() else KEY_FILE
    done.append(
        (
            f"device key ({own}), after this paper was signed",
            How.UNWRAPPED if own == TPM_FILE else How.OVERWRITTEN,
        )
    )
    statement = {
        "form": _FORM,
        "what": "certificate of erasure",
        "device": key.id,
        "slot": certificate.slot,
        "at": as_text(clock.now()),
        "reason": leave.reason,
        "registry": told.value,
        "erased": [{"what": what, "how": how.value} for what, how in done],
    }
    signed = {
        "statement": statement,
        "signature": base64.b64encode(key.sign(_canonical(statement))).decode(),
        "certificate": certificate.pem.decode(),
    }
    write_file(paper, json.dumps(signed, indent=1).encode())
    forget_key(roots)
    return statement


def verify_paper(data: bytes, authorities: Sequence[str]) -> dict[str, Any]:
    """Return what a certificate of erasure says, if it is signed by a device of these authorities.

    Whether that certificate held at the time is the registry's to say: a box may be let go after it ended.

    Raises:
        ErasureFault: it is none, was changed, or is of a device of another registry.
    """
    try:
        said = json.loads(data)
        statement, pem = said["statement"], said["certificate"].encode()
        public = x509.load_pem_x509_certificate(pem).public_key()
        signature = base64.b64decode(said["signature"], validate=True)
        if not isinstance(public, ec.EllipticCurvePublicKey) or statement["form"] != _FORM:
            raise ValueError("another kind of key or form")
        public.verify(signature, _canonical(statement), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ErasureFault("the certificate of erasure was changed after it was signed") from error
    except (*NO_CERTIFICATE, *NO_JSON, KeyError, AttributeError) as error:
        raise ErasureFault("this file is no certificate of erasure") from error
    if not issued_by(pem, authorities):
        raise ErasureFault("it is signed by a device of another registry")
    return dict(statement)


def split_pem(data: bytes) -> list[str]:
    """Return the certificates of a PEM file, one by one.

    Raises:
        ErasureFault: it holds none.
    """
    try:
        found = x509.load_pem_x509_certificates(data)
    except NO_CERTIFICATE as error:
        raise ErasureFault("the file of the authorities holds no certificate") from error
    return [one.public_bytes(Encoding.PEM).decode() for one in found]


def _can_erase(leave: Leave, paper: Path, config: Config) -> None:
    """Find out beforehand what would fail half-way."""
    if leave.luks and _tool() is None:
        raise ErasureFault("cryptsetup is not installed: the keys of the encrypted disk cannot be destroyed")
    for place in leave.luks:
        if not place.exists() or _cryptsetup("isLuks", str(place)) != 0:
            raise ErasureFault(f"{place}: is no LUKS device; nothing was done")
    gone = [config.registry.roots, *([config.storage.root] if leave.remove_data else [])]
    if any(paper.resolve().is_relative_to(folder.resolve()) for folder in gone):
        raise ErasureFault("the paper would lie in a folder that is erased: name another file with --out")
    if not paper.parent.is_dir() or paper.exists():
        raise ErasureFault(f"{paper}: its folder is not there, or the file is; name another with --out")


def _can_sign(key: Signer) -> None:
    """Find out beforehand that the paper can be signed: a TPM may have been cleared."""
    try:
        key.sign(b"")
    except KeyFault as fault:
        raise ErasureFault(f"{fault}; nothing was done. Revoke the device at the registry instead") from fault


def _told(config: Config, key: Signer, clock: Clock, *, alone: bool) -> Told:
    try:
        Desk(url=config.registry.url, key=key, clock=clock).leave()
    except Refusal as refusal:
        if isinstance(refusal, Declined) and refusal.word is Word.NOT_CLAIMED:
            return Told.UNKNOWN
        if alone:
            return Told.NO
        raise ErasureFault(
            f"the registry was not told ({refusal.word}: {refusal.sentence}); nothing was done."
            " --alone goes on without; then revoke the device there by hand"
        ) from refusal
    return Told.YES


def _luks(places: Sequence[Path]) -> list[tuple[str, How]]:
    for place in places:
        if _cryptsetup("--batch-mode", "luksErase", str(place)) != 0:
            raise ErasureFault(
                f"{place}: its key slots could not be destroyed; the device's key is still here"
            )
    return [(f"encrypted disk ({place.name})", How.LUKS) for place in places]


def _tls_keys(config: Config) -> list[tuple[str, How]]:
    tls = config.dicom.tls
    keys = {
        "private key of DICOM TLS": tls.key if tls is not None else None,
        "private key of the audit trail's TLS": config.audit.key,
    }
    return [(what, How.OVERWRITTEN) for what, path in keys.items() if path is not None and erase_file(path)]


def _data(config: Config, leave: Leave) -> list[tuple[str, How]]:
    if not leave.remove_data or not config.storage.root.is_dir():
        return []
    for place in sorted(config.storage.root.iterdir()):
        remove_folder(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    if any(config.storage.root.iterdir()):
        raise ErasureFault("not everything below storage.root could be removed: stop the box and try again")
    return [("everything below storage.root", How.REMOVED)]


def _tool() -> str | None:
    # Debian keeps it where the PATH of an ordinary user does not look.
    return shutil.which("cryptsetup", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _cryptsetup(*arguments: str) -> int:
    try:
        done = subprocess.run(
            [_tool() or "cryptsetup", *arguments], capture_output=True, timeout=_LUKS_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ErasureFault("cryptsetup did not answer in time") from error
    return done.returncode


def _canonical(statement: dict[str, Any]) -> bytes:
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
