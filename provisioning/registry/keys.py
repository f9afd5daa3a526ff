"""Private keys in files: offline ones of people, online ones of the server (Ed25519, PKCS #8 in PEM).

Promises: a key file is readable by its owner only and is never written over.
Never: puts a key, or a passphrase, into a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from appliance.disk.durable import make_folder, write_file
from provisioning.registry.faults import RegistryFault

_SUFFIX = ".pem"
_BYTES_MAX = 10_000


def make(path: Path, passphrase: str | None) -> CryptoSigner:
    """Make a key, keep it in a file and return what signs with it; without a passphrase it lies there plain.

    Raises:
        RegistryFault: a file of that name is there already.
    """
    if path.exists():
        raise RegistryFault(f"{path}: a key is there already, and keys are never written over")
    key = Ed25519PrivateKey.generate()
    how = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase.encode())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    make_folder(path.parent)
    write_file(path, pem)
    return CryptoSigner(key)


def load(path: Path, passphrase: str | None) -> CryptoSigner:
    """Open one key file.

    Raises:
        RegistryFault: it cannot be read, is none, or the passphrase is missing or another.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX)
    except OSError as error:
        raise RegistryFault(f"{path}: cannot be read: {error.strerror}") from error
    secret = passphrase.encode() if passphrase is not None and b"ENCRYPTED" in data else None
    try:
        key = serialization.load_pem_private_key(data, secret)
    except TypeError as error:
        raise RegistryFault(f"{path}: is encrypted, and no passphrase was given") from error
    except ValueError as error:
        raise RegistryFault(f"{path}: is no private key, or the passphrase is another") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RegistryFault(f"{path}: is not an Ed25519 key")
    return CryptoSigner(key)


def load_all(folders: Iterable[Path], passphrase: str | None) -> list[CryptoSigner]:
    """Open every key of these folders: each may be one person's.

    Raises:
        RegistryFault: a folder holds no key, or one cannot be opened.
    """
    signers: list[CryptoSigner] = []
    for folder in folders:
        paths = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
        if not paths:
            raise RegistryFault(f"{folder}: holds no key (*{_SUFFIX})")
        signers += [load(path, passphrase) for path in paths]
    return signers


def path_of(folder: Path, name: str) -> Path:
    """Return the file of a key by its name."""
    return folder / f"{name}{_SUFFIX}"
