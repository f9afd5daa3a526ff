"""The values the wire is spoken with: unique identifiers, application entity titles, peers.

Each is checked once, where it enters, and trusted from then on.
Nothing here reads a network or a file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from dicom_node.tls import Credentials
from dicom_node.user import User

IMPLEMENTATION_CLASS_UID: Final = "2.25.158713823978013120722527502476747453191"
IMPLEMENTATION_VERSION_NAME: Final = "READSIDE_010"

UID_CHARACTERS_MAX: Final = 64
AE_TITLE_CHARACTERS_MAX: Final = 16

_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LEADING_ZERO: Final = re.compile(r"(?:^|\.)0[0-9]", re.ASCII)
# Default character repertoire without backslash and control characters: PS3.5 6.2, VR AE.
_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}", re.ASCII)

RIGHTS: Final = frozenset({"store", "query", "notify"})


class Uid(str):
    """A unique identifier of digits and dots, at most 64 characters (PS3.5 9.1)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text` and return it as a Uid (PS3.5 9.1).

        Components with a leading zero are forbidden by the standard and common in the wild: they pass,
        and `has_leading_zero` tells.

        Raises:
            ValueError: the text is empty, too long, or anything but digits separated by single dots.
                The message does not repeat the text.
        """
        if len(text) > UID_CHARACTERS_MAX or not _UID.fullmatch(text):
            raise ValueError(f"not a UID: {len(text)} characters, want 1 to 64 of digits and single dots")
        return cls(text)

    @property
    def has_leading_zero(self) -> bool:
        """Tell whether a component breaks the leading zero rule of PS3.5 9.1."""
        # Asked of each instance that comes: most have no component that begins with a zero at all.
        return (".0" in self or self.startswith("0")) and _LEADING_ZERO.search(self) is not None


class AeTitle(str):
    """An application entity title: 1 to 16 characters, outer spaces insignificant (PS3.5 6.2, VR AE)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Strip the outer spaces of `text`, check it and return it (PS3.5 6.2).

        Raises:
            ValueError: nothing is left, more than 16 characters are, or one is a backslash,
                a control character or not ASCII.
        """
        stripped = text.strip(" ")
        if not stripped or not _AE_TITLE.fullmatch(stripped):
            raise ValueError(f"not an AE title: {stripped[:32]!r}, want 1 to 16 printable ASCII characters")
        return cls(stripped)


def short(uid: str) -> str:
    """Return the 12 hexadecimal digits by which a UID may appear in a log."""
    return hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A remote application entity and what it may do here.

    `port` is where the peer listens; 0 when it only ever calls us.
    `may` holds rights: "store" lets it send us instances, "query" lets it be asked, "notify" lets it say what
    belongs to a study.
    A peer without rights may still verify the connection (C-ECHO).
    The AE title is a label, not a proof of identity: the certificate is, where TLS is spoken. The host is
    not compared with the address a connection comes from.

    `tls` is what we prove ourselves with; with it nothing is said to the peer, or taken from it, in the
    clear. `certificate_sha256` are the fingerprints of the certificates it may show; without any, its
    certificate has to name it (`dicom_node.proof`).
    `user` is whom we name to the peer when we call it, `shows` whom it has to name to us.
    """

    name: str
    ae_title: str
    host: str
    port: int
    may: frozenset[str] = frozenset()
    tls: Credentials | None = None
    certificate_sha256: frozenset[str] = frozenset()
    user: User | None = None
    shows: User | None = None

    def __post_init__(self) -> None:
        """Check the title, the port and the rights once."""
        object.__setattr__(self, "ae_title", AeTitle.parse(self.ae_title))
        if not 0 <= self.port <= 65535:
            raise ValueError(f"peer {self.name}: port {self.port} is outside 0 to 65535")
        if unknown := sorted(self.may - RIGHTS):
            raise ValueError(f"peer {self.name}: unknown rights {unknown}, want some of {sorted(RIGHTS)}")
