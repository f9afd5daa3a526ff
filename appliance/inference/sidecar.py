"""What is written beside a built engine: what it was made of, what it really is, and how it was judged.

A built engine can hold code that runs. So every sidecar is sealed with a secret of this box (HMAC-SHA-256),
and names the digest of each file beside it: what was changed, cut short or brought from elsewhere is refused.
Never: holds a secret, an image or a path.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1


class SidecarRefused(Exception):
    """An engine that was kept must not be loaded; the text is one sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class FileMark:
    """How long a file is, and the SHA-256 of its bytes in hexadecimal digits."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What is known of one built engine.

    Attributes:
        engine: the name configuration calls it by.
        model: the package's name and version, for people.
        package: the package's digest.
        key: of the plan it was built from.
        parts: what the key is made of.
        files: every file beside the sidecar, by name.
        details: what the builder reported of what it built, read back from it.
        failure: why it could not be built; there are no files then. "" when it was.
        verdict: how its golden cases came out, see `appliance.inference.parity`; None before they were asked.
        built_at: when it was built, or could not be: seconds since the Unix epoch, UTC.
        product: the version of this product that built it.
    """

    engine: str
    model: str
    package: str
    key: str
    parts: Mapping[str, str]
    files: Mapping[str, FileMark]
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    verdict: Mapping[str, Any] | None = None
    built_at: float = 0.0
    product: str = ""

    @property
    def put_aside(self) -> bool:
        """Say whether it may not serve: it could not be built, or its golden cases came out different."""
        return bool(self.failure) or (self.verdict is not None and not self.verdict["ok"])


def seal(sidecar: Sidecar, secret: bytes) -> bytes:
    """Write a sidecar as JSON, with its seal."""
    body = {"format": FORMAT, **asdict(sidecar)}
    return json.dumps({"body": body, "seal": _seal(body, secret)}, indent=1).encode()


def unseal(data: bytes, secret: bytes) -> Sidecar:
    """Read a sidecar that this box sealed.

    Raises:
        SidecarRefused: it is cut short, was changed, or was sealed elsewhere.
    """
    try:
        held = json.loads(data)
        body, sealed = held["body"], str(held["seal"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SidecarRefused("Its description is damaged.") from error
    if not hmac.compare_digest(sealed.encode(), _seal(body, secret).encode()):
        raise SidecarRefused("Its description was changed, or was made on another box.")
    if body.pop("format", None) != FORMAT:
        raise SidecarRefused("Its description was written by another version.")
    body["files"] = {name: FileMark(**mark) for name, mark in body["files"].items()}
    return Sidecar(**body)


def _seal(body: Any, secret: bytes) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(secret, b"readside-engine-1\n" + canonical, hashlib.sha256).hexdigest()
