"""The address of a study in the site's own viewer, made from the pattern of the configuration.

Promises: an address is http or https on the host that the configuration names; whatever a study says of
itself is percent-encoded, so that it is one value and nothing else of the address.
Never: asks the viewer anything, or holds a name or a password.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

STUDY_UID = "{study_uid}"
ACCESSION_NUMBER = "{accession_number}"
_NAMES = f"{STUDY_UID} and {ACCESSION_NUMBER}"
_PLACEHOLDER = re.compile(r"\{study_uid\}|\{accession_number\}")


def fault_of(pattern: str) -> str:
    """Say what is wrong with a pattern; nothing if it can be used."""
    if not pattern.isascii() or not pattern.isprintable() or set(' "<>\\^`|') & set(pattern):
        return "holds a character that no address holds; percent-encode it"
    bare = _PLACEHOLDER.sub("", pattern)
    if "{" in bare or "}" in bare:
        return f"knows {_NAMES} and no other name in braces"
    if bare == pattern:
        return f"names no study: write {STUDY_UID} or {ACCESSION_NUMBER} where the viewer expects it"
    return _address_fault(pattern)


def _address_fault(pattern: str) -> str:
    try:
        parts = urlsplit(pattern)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if not host or "{" in parts.netloc:
        return "must name the viewer's host, and no study in it"
    return "must hold no name and password: all who see the page see it" if "@" in parts.netloc else ""


def filled(pattern: str, *, study_uid: str, accession_number: str) -> str | None:
    """Return the address of one study; nothing without a pattern, or where the study has no such number."""
    if not pattern or (ACCESSION_NUMBER in pattern and not accession_number.strip()):
        return None
    address = pattern.replace(STUDY_UID, quote(study_uid, safe=""))
    return address.replace(ACCESSION_NUMBER, quote(accession_number.strip(), safe=""))
