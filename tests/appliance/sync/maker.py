"""Who made a model, in tests: signs a package as `model_signing sign key` does, which the vectors hold."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.sync.dsse import to_sign

KIND = "application/vnd.in-toto+json"


def key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a key; its public half goes into a file."""
    made = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return made


def statement(folder: Path) -> dict[str, object]:
    """Say which files a package has."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files]
    subject = hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": folder.name, "digest": {"sha256": subject}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [
                {"name": name, "digest": digest, "algorithm": "sha256"}
                for name, digest in zip(files, digests, strict=True)
            ],
        },
    }


def signature(said: dict[str, object], signer: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign a statement."""
    payload = json.dumps(said).encode()
    signed = signer.sign(to_sign(KIND, payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": KIND,
        "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
    }
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "aa"}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    return json.dumps(bundle).encode()


def made(package: Path, out: Path, signer: ec.EllipticCurvePrivateKey) -> Path:
    """Sign a package into a file."""
    out.write_bytes(signature(statement(package), signer))
    return out
