"""Proof that a POST came from a page of ours (F61: cross-site request forgery).

Inside a session the proof is derived from the session's token.
Before there is one, the log-in page sets a random cookie and its form carries a proof derived from that.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from appliance.console.access import Visitor

FORM_COOKIE = "readside_form"


class FormKey:
    """Makes and checks the proofs of forms shown before a log-in; it lives as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def nonce(self) -> str:
        """Return a value for the cookie."""
        return secrets.token_urlsafe(24)

    def proof(self, nonce: str) -> str:
        """Return what the form must carry beside this cookie."""
        return hmac.new(self._key, nonce.encode(), hashlib.sha256).hexdigest()

    def holds(self, nonce: str, proof: str) -> bool:
        """Say whether a proof belongs to a cookie."""
        return bool(nonce) and same(self.proof(nonce), proof)


def holds(visitor: Visitor, proof: str) -> bool:
    """Say whether a form came from a page of this session."""
    return bool(visitor.session) and same(visitor.csrf, proof)


def same(one: str, other: str) -> bool:
    """Compare two texts in a time that says nothing about where they differ."""
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def local_path(wanted: str) -> str:
    """Return a path of this site to go on to; anything else becomes the first page."""
    plain = wanted.isascii() and wanted.isprintable() and len(wanted) <= 512
    local = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if plain and local else "/"
