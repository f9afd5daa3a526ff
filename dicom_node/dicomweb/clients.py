"""Who may store by STOW-RS: clients that show a token (RFC 6750, RFC 7617) or a certificate.

Promises: a token is known by its digest alone; all of them are compared whenever one is shown.
Never: lets anybody in who shows nothing, unless the site says so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicom_node.proof import Proof
from dicom_node.values import AeTitle, Peer


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client, and the application entity title that what it brings is recorded under.

    `token_sha256` and `certificate_sha256` are digests in hexadecimal digits; either lets it in.
    """

    name: str
    ae_title: str
    token_sha256: frozenset[str] = frozenset()
    certificate_sha256: frozenset[str] = frozenset()

    @property
    def as_peer(self) -> Peer:
        """Return it as the wire knows whoever sends: it may store, and has no address."""
        title = AeTitle.parse(self.ae_title)
        return Peer(name=self.name, ae_title=title, host="", port=0, may=frozenset({"store"}))


@dataclass(frozen=True, kw_only=True)
class Clients:
    """All clients; `anybody` is who comes without showing anything, where the site lets that in."""

    known: Sequence[Client] = field(default=())
    anybody: Client | None = None

    def find(self, authorization: str, proof: Proof | None) -> Client | None:
        """Return who shows this Authorization field, or this certificate."""
        if proof is not None:
            for client in self.known:
                if proof.sha256 in client.certificate_sha256:
                    return client
        scheme, _, shown = authorization.strip().partition(" ")
        if scheme.lower() == "bearer":
            return self._with_token(shown.strip(), name=None)
        if scheme.lower() == "basic":
            name, token = _basic(shown.strip())
            return self._with_token(token, name=name)
        return self.anybody if not scheme else None

    def _with_token(self, token: str, *, name: str | None) -> Client | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for client in self.known:
            for one in client.token_sha256:
                if hmac.compare_digest(one, digest) and name in (None, client.name):
                    found = client
        return found if token else None


def _basic(shown: str) -> tuple[str, str]:
    """Return user and password; two empty ones where there are none."""
    try:
        name, _, token = base64.b64decode(shown, validate=True).decode("utf-8").partition(":")
    except ValueError:
        return "", ""
    return name, token
