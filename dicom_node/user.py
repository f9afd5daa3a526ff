"""Who an association speaks for, by name and passcode (User Identity Negotiation, PS3.7 D.3.3.7).

Promises: a passcode is read when it is needed, so a new one holds at once; two are compared in constant time.
Never: lets a name or a passcode into a log; Kerberos, SAML and JWT are not spoken.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from dicom_node.errors import NoAssociation

log = structlog.get_logger(__name__)

_NAME, _NAME_AND_PASSCODE = 1, 2
_PASSCODE_BYTES_MAX: Final = 1024


class UserFault(Exception):
    """A passcode's file cannot be used; the message names the file and never what is in it."""


@dataclass(frozen=True, kw_only=True)
class User:
    """A user name, and the file with its passcode; without one the name alone is shown.

    Attributes:
        passcode: a file of one line of UTF-8, 1 to 1024 bytes; a line's end does not count.
    """

    name: str
    passcode: Path | None = None

    def item(self) -> UserIdentityNegotiation:
        """Return what is proposed with an association (PS3.7 D.3.3.7.1); no answer is asked for.

        Raises:
            UserFault: the passcode cannot be read.
        """
        item = UserIdentityNegotiation()
        item.user_identity_type = _NAME if self.passcode is None else _NAME_AND_PASSCODE
        item.primary_field = self.name.encode("utf-8")
        if self.passcode is not None:
            item.secondary_field = _read(self.passcode)
        return item

    def is_shown_in(self, proposed: Iterable[object]) -> bool:
        """Say whether a peer's user information holds this name, with its passcode where it has one.

        Raises:
            UserFault: the passcode cannot be read.
        """
        shown = next((item for item in proposed if isinstance(item, UserIdentityNegotiation)), None)
        if shown is None or shown.user_identity_type not in (_NAME, _NAME_AND_PASSCODE):
            return False
        wanted = b"" if self.passcode is None else _read(self.passcode)
        given = b"" if self.passcode is None else shown.secondary_field or b""
        # Both are looked at whatever the first says: the time taken must not tell which was wrong.
        name = hmac.compare_digest(self.name.encode("utf-8"), shown.primary_field or b"")
        return hmac.compare_digest(wanted, given) and name


def proposed(user: User | None) -> list[UserIdentityNegotiation]:
    """Return what is proposed for a user, if there is one.

    Raises:
        NoAssociation: its passcode cannot be read.
    """
    if user is None:
        return []
    try:
        return [user.item()]
    except UserFault as fault:
        log.error("node.user_file", reason=str(fault))
        raise NoAssociation("user_file") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            passcode = file.read(_PASSCODE_BYTES_MAX + 2).rstrip(b"\r\n")
    except OSError as error:
        raise UserFault(f"{path}: cannot be read: {error.strerror}") from None
    if not 0 < len(passcode) <= _PASSCODE_BYTES_MAX or b"\n" in passcode:
        raise UserFault(f"{path}: must hold one line of 1 to {_PASSCODE_BYTES_MAX} bytes")
    return passcode
