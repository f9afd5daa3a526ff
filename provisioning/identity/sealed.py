"""Bytes under a passphrase: AES-256-GCM with a key from scrypt (RFC 7914), in one small file.

Promises: a wrong passphrase and a changed byte are the same fault, and nothing is read before both are ruled
out.
Never: keeps a passphrase or a key.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

PASSPHRASE_CHARACTERS_MIN: Final = 16
_MAGIC: Final = b"READSIDE-BACKUP-1\n"
# 2**17 * 8 * 128 bytes: 128 MiB and about half a second, for each guess too.
_LOG2_N, _R, _P = 17, 8, 1
_LOG2_N_MAX: Final = 20
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_HEADER: Final = struct.Struct(f">{len(_MAGIC)}sBBB{_SALT_BYTES}s{_NONCE_BYTES}s")


class SealFault(Exception):
    """This cannot be opened or sealed; the sentence says why."""


def seal(data: bytes, passphrase: str, *, log2_n: int = _LOG2_N) -> bytes:
    """Return bytes that only the passphrase opens.

    Raises:
        SealFault: the passphrase is too short.
    """
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise SealFault(f"a recovery passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    header = _HEADER.pack(_MAGIC, log2_n, _R, _P, salt, nonce)
    return header + AESGCM(_key(passphrase, salt, log2_n)).encrypt(nonce, data, header)


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """Return what was sealed.

    Raises:
        SealFault: it is no backup, was changed, or the passphrase is another.
    """
    if len(sealed) < _HEADER.size or not sealed.startswith(_MAGIC):
        raise SealFault("this file is no backup of a box")
    _, log2_n, r, p, salt, nonce = _HEADER.unpack_from(sealed)
    # What a changed header asks for must not take the machine's memory.
    if not 10 <= log2_n <= _LOG2_N_MAX or (r, p) != (_R, _P):
        raise SealFault("the backup was changed, or is of a newer form")
    try:
        key = _key(passphrase, salt, log2_n)
        return AESGCM(key).decrypt(nonce, sealed[_HEADER.size :], sealed[: _HEADER.size])
    except InvalidTag as error:
        raise SealFault("the passphrase is another, or the backup was changed") from error


def _key(passphrase: str, salt: bytes, log2_n: int) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, n=1 << log2_n, r=_R, p=_P).derive(passphrase.encode())
