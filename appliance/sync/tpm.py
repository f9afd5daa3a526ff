"""A device's private key in a TPM 2.0: it is made there, and signs there, and is not anywhere else.

What lies in the file is the key wrapped by the TPM's storage key (TPM 2.0 Library Part 1, section 23): it is
worth nothing on another machine, and nothing after the TPM was cleared. `tpm2-tools` does the talking.

Promises: every wait for the TPM ends; the file is the owner's alone and is never written over.
Never: takes a handle that stays in the TPM: what is removed with the file is gone.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from appliance.disk.durable import make_folder, write_file
from appliance.sync.signing import SignatureFault, device_id
from appliance.sync.softkey import KeyFault

_MANAGED: Final = Path("/dev/tpmrm0")
_WHERE: Final = "TPM2TOOLS_TCTI"
_SECONDS_MAX: Final = 60.0
_BYTES_MAX: Final = 10_000
_FORM: Final = 1
_ATTRIBUTES: Final = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
_CREATE: Final = f"tpm2_create -C primary -G ecc256:ecdsa-sha256 -u key.pub -r key.priv -a {_ATTRIBUTES}"
_LOAD: Final = "tpm2_load -C primary -u key.pub -r key.priv -c key"
_TOOLS: Final = ("tpm2_createprimary", "tpm2_create", "tpm2_load", "tpm2_readpublic", "tpm2_sign")


@dataclass(frozen=True, kw_only=True)
class TpmKey:
    """A P-256 key that only one TPM can use."""

    public_pem: bytes
    wrapped_public: bytes
    wrapped_private: bytes

    @property
    def id(self) -> str:
        """Return the device's id: SHA-256 of the SubjectPublicKeyInfo, 64 hex digits."""
        return device_id(self.public_pem)

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature over the SHA-256 of `data`, as DER.

        Raises:
            KeyFault: the TPM does not answer, or is not the one that the key was made in.
        """
        with _table() as folder:
            (folder / "key.pub").write_bytes(self.wrapped_public)
            (folder / "key.priv").write_bytes(self.wrapped_private)
            (folder / "data").write_bytes(data)
            _primary(folder)
            _tool(folder, _LOAD)
            _tool(folder, "tpm2_sign -c key -g sha256 -s ecdsa -f plain -o signature data")
            return (folder / "signature").read_bytes()


def available() -> bool:
    """Say whether this machine has a TPM that can be used, and the tools for it."""
    reachable = bool(os.environ.get(_WHERE)) or os.access(_MANAGED, os.R_OK | os.W_OK)
    return reachable and all(shutil.which(tool) for tool in _TOOLS)


def make(path: Path) -> TpmKey:
    """Make a key in the TPM and keep it, wrapped, in a file.

    Raises:
        KeyFault: a file of that name is there, or the TPM does not do it.
        NoSpace, DiskFault: the disk is full or failed.
    """
    if path.exists():
        raise KeyFault(f"{path}: a key is there already, and keys are never written over")
    with _table() as folder:
        _primary(folder)
        _tool(folder, _CREATE)
        _tool(folder, _LOAD)
        _tool(folder, "tpm2_readpublic -c key -f pem -o key.pem")
        key = TpmKey(
            public_pem=(folder / "key.pem").read_bytes(),
            wrapped_public=(folder / "key.pub").read_bytes(),
            wrapped_private=(folder / "key.priv").read_bytes(),
        )
    said = {
        "form": _FORM,
        "public_pem": key.public_pem.decode(),
        "wrapped_public": base64.b64encode(key.wrapped_public).decode(),
        "wrapped_private": base64.b64encode(key.wrapped_private).decode(),
    }
    make_folder(path.parent)
    write_file(path, json.dumps(said, indent=1).encode())
    return key


def load(path: Path) -> TpmKey:
    """Read a wrapped key; the TPM is not asked before something is signed.

    Raises:
        KeyFault: the file cannot be read, or holds no wrapped key.
    """
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_BYTES_MAX))
        if said["form"] != _FORM:
            raise ValueError("a form that is not known here")
        key = TpmKey(
            public_pem=said["public_pem"].encode(),
            wrapped_public=base64.b64decode(said["wrapped_public"], validate=True),
            wrapped_private=base64.b64decode(said["wrapped_private"], validate=True),
        )
        device_id(key.public_pem)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        binascii.Error,
        SignatureFault,
    ) as error:
        raise KeyFault(f"{path}: holds no key of a TPM ({type(error).__name__})") from error
    return key


def _primary(folder: Path) -> None:
    """Make the storage key again: its seed lies in the TPM, so it is the same each time."""
    _tool(folder, "tpm2_createprimary -C o -g sha256 -G ecc256:aes128cfb -c primary")


@contextmanager
def _table() -> Iterator[Path]:
    """Give a folder for one use of the TPM; nothing in it is a secret."""
    with TemporaryDirectory(prefix="readside-tpm-") as folder:
        yield Path(folder)


def _tool(folder: Path, line: str) -> None:
    """Run a tool in a folder; no part of the line has a blank in it."""
    tool, *arguments = line.split()
    try:
        done = subprocess.run(
            [tool, "-Q", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=_SECONDS_MAX,
            check=False,
        )
    except FileNotFoundError as error:
        raise KeyFault(f"{tool} is not installed: install the package tpm2-tools") from error
    except subprocess.TimeoutExpired as error:
        raise KeyFault(f"the TPM did not answer within {_SECONDS_MAX:.0f} seconds") from error
    if done.returncode != 0:
        raise KeyFault(
            f"the TPM refused {tool}; if it was cleared or is another machine's, enrol this device anew"
        )
    where = os.environ.get(_WHERE, "")
    if where and "tpmrm" not in where:
        # No manager of its memory is in between: what the tool left there would fill its three places.
        subprocess.run(["tpm2_flushcontext", "-t"], capture_output=True, timeout=_SECONDS_MAX, check=False)
