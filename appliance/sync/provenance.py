"""Who made a model: a signature of OpenSSF Model Signing 1.0 over every file of its package, held good here.

The form is the one that `model_signing sign key` writes: a statement (in-toto 1.0) with name and SHA-256 of
every file, in an envelope (DSSE), in a bundle (sigstore 0.3). Only signatures with a key in the site's hands
are read; certificates and logs of sigstore need a network.

Promises: a package holds under a statement only if each file stands in it with its hash, and no other does.
Never: says that a release is the newest, or meant for this box: the registry's own lists do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from appliance.sync.dsse import Envelope, envelope_of, key_of
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import Target

BYTES_MAX = 100_000
_KIND = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_BUNDLE = "application/vnd.dev.sigstore.bundle"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES_MAX = 10_000
_HINT_CHARACTERS_MAX = 64


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What somebody signed: the SHA-256 of each file by its path in the package.

    `hint` is the SHA-256 of the key's PEM, as the signer says.
    """

    files: Mapping[str, str]
    envelope: Envelope
    hint: str = ""


def statement_of(data: bytes) -> Statement:
    """Read a signature's file; nothing is verified by this.

    Raises:
        ValueError: it has another form, or was made with other settings than every file by its SHA-256.
    """
    try:
        bundle = json.loads(data)
        if not str(bundle["mediaType"]).startswith(_BUNDLE):
            raise ValueError("it is no signature of OpenSSF Model Signing")
        envelope = envelope_of(bundle["dsseEnvelope"])
        said = json.loads(envelope.payload)
        if (envelope.kind, said["_type"], said["predicateType"]) != (_KIND, _STATEMENT, _PREDICATE):
            raise ValueError("it is of a form of OpenSSF Model Signing that is not known")
        files = dict(_files(said["predicate"]["resources"]))
        subject = [one["digest"]["sha256"] for one in said["subject"]]
        hint = str(bundle["verificationMaterial"]["publicKey"].get("hint", ""))[:_HINT_CHARACTERS_MAX]
    except (KeyError, TypeError, RecursionError, AttributeError) as error:
        raise ValueError("it is no signature of OpenSSF Model Signing") from error
    # The subject is the hash over the files' hashes in their order.
    if subject != [hashlib.sha256(b"".join(map(bytes.fromhex, files.values()))).hexdigest()]:
        raise ValueError("its list of files is not the one that it names")
    return Statement(files=files, envelope=envelope, hint=hint)


def keys_in(paths: Sequence[Path]) -> list[ec.EllipticCurvePublicKey]:
    """Read the public keys of a site's `registry.provenance`.

    Raises:
        Refusal: BOX_REFUSED, one cannot be read: without it too much or too little would hold.
    """
    keys = []
    for path in paths:
        try:
            with path.open("rb") as file:
                keys.append(key_of(file.read(_KEY_BYTES_MAX)))
        except (OSError, ValueError) as error:
            raise Refusal(
                Word.BOX_REFUSED, f"{path.name} of registry.provenance cannot be used: {error}"
            ) from error
    return keys


def signed_by(data: bytes, keys: Sequence[ec.EllipticCurvePublicKey]) -> Statement:
    """Return what one of these keys signed.

    Raises:
        Refusal: PROVENANCE, none of them did, or it is no such signature.
    """
    try:
        statement = statement_of(data)
    except ValueError as error:
        raise Refusal(Word.PROVENANCE, f"the signature of who made it cannot be read: {error}") from error
    if not statement.envelope.held_by(keys):
        raise Refusal(
            Word.PROVENANCE, "it is signed by nobody whose key stands in registry.provenance of this box"
        )
    return statement


def check(
    target: Target | None, keys: Sequence[Path], bytes_of: Callable[[Target], bytes], folder: Path
) -> None:
    """Hold a release against who may have made it, where the site asks for that; its files, once here.

    Raises:
        Refusal: PROVENANCE, or why the signature did not come.
    """
    if not keys:
        return
    if target is None:
        raise Refusal(Word.PROVENANCE, "no signature of who made it came with it, and this box asks for one")
    statement = signed_by(bytes_of(target), keys_in(keys))
    if folder.is_dir():
        hold(statement, folder)


def hold(statement: Statement, folder: Path) -> None:
    """Hold the files of a package against what was signed.

    Raises:
        Refusal: PROVENANCE, they are others.
    """
    if differs := differences(statement, folder):
        raise Refusal(
            Word.PROVENANCE, f"its maker signed other files: {', '.join(differs[:5])} of the package differ"
        )


def differences(statement: Statement, folder: Path) -> list[str]:
    """Return the paths that were changed, added or taken away since somebody signed."""
    here = dict(_hashes(folder))
    return sorted(
        name for name in here.keys() | statement.files.keys() if here.get(name) != statement.files.get(name)
    )


def _files(resources: Any) -> Iterator[tuple[str, str]]:
    named = set()
    for one in resources:
        name, digest = one["name"], one["digest"]
        if one["algorithm"] != "sha256" or not isinstance(name, str) or not _SHA256.fullmatch(digest):
            raise ValueError("it was made with other settings than every file by its SHA-256")
        if name in named:
            raise ValueError("it names a file twice")
        named.add(name)
        yield name, digest


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            # A link has no bytes of its own: it differs from whatever was signed.
            yield path.relative_to(folder).as_posix(), "" if path.is_symlink() else _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
