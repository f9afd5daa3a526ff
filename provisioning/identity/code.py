"""Claim codes and the invitation that carries one, as it stands on a label or in a QR code.

A code is 128 random bits in base32 as Crockford writes it (no I, L, O, U), 26 characters, and two more that
check them: the number modulo 1021. The prime is above 32 and divides no power of it, so a code with one wrong
character is always found, and so is one in which two neighbours of the first 26 changed places.

Promises: what people write for one another (small letters, O for 0, dashes, blanks) is the same code.
Never: a code in a message of an error.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BITS: Final = 128
_CHARACTERS, _CHECKS, _GROUP = 26, 2, 4
_PRIME = 1021
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})
_TEXT_CHARACTERS_MAX = 1_000
_ANCHOR = re.compile(r"[0-9a-f]{32}|")


class CodeFault(Exception):
    """This is no claim code or invitation; the sentence says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What a device needs to come into a fleet.

    Attributes:
        url: of the registry.
        slot: the position that it takes.
        code: in one piece, without dashes.
        anchor: the first 32 hex digits of a digest over the registry's roots and authorities; empty if it
            came without.
    """

    url: str
    slot: str
    code: str
    anchor: str = ""


def make() -> str:
    """Return a new code in one piece."""
    return _written(secrets.randbits(BITS))


def shown(code: str) -> str:
    """Return a code as people read it, in groups of four."""
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def read(text: str) -> str:
    """Return a code that a person wrote in one piece.

    Raises:
        CodeFault: its length, a character or its check characters are wrong.
    """
    code = text[:_TEXT_CHARACTERS_MAX].upper().translate(_READ_AS)
    if len(code) != _CHARACTERS + _CHECKS:
        raise CodeFault(f"a claim code has {_CHARACTERS + _CHECKS} characters, and this has {len(code)}")
    if any(character not in ALPHABET for character in code):
        raise CodeFault("a character of the claim code is none that it may have")
    value = 0
    for character in code[:_CHARACTERS]:
        value = value * 32 + ALPHABET.index(character)
    if value >> BITS or _written(value) != code:
        raise CodeFault("the claim code is not as it was given: a character is wrong or two changed places")
    return code


def invitation_text(invitation: Invitation) -> str:
    """Return an invitation as one line: an address whose fragment no browser sends to anybody."""
    parts = urlsplit(invitation.url)
    said = {"slot": invitation.slot, "code": invitation.code, "anchor": invitation.anchor}
    fragment = urlencode({name: value for name, value in said.items() if value})
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", fragment))


def read_invitation(text: str) -> Invitation:
    """Read an invitation from a QR code or a file.

    Raises:
        CodeFault: it is none, or its code is wrong.
    """
    try:
        parts = urlsplit(text.strip()[:_TEXT_CHARACTERS_MAX])
        said = parse_qs(parts.fragment, strict_parsing=True, max_num_fields=5)
    except ValueError as error:
        raise CodeFault("this is no invitation: an address with slot and code behind a # sign") from error
    if parts.scheme not in ("http", "https") or not {"slot", "code"} <= set(said):
        raise CodeFault("this is no invitation: an address with slot and code behind a # sign")
    anchor = said.get("anchor", [""])[0]
    if _ANCHOR.fullmatch(anchor) is None:
        raise CodeFault("the anchor of the invitation has not 32 hex digits")
    return Invitation(
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
        slot=said["slot"][0],
        code=read(said["code"][0]),
        anchor=anchor,
    )


def _written(value: int) -> str:
    check = value % _PRIME
    digits = [ALPHABET[(value >> (5 * at)) & 31] for at in reversed(range(_CHARACTERS))]
    return "".join(digits) + ALPHABET[check >> 5] + ALPHABET[check & 31]
