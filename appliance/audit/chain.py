"""The chain: what makes a row's hash, so that no row can be changed, put in or taken out unseen.

A bare chain cannot tell that its end was cut off; checkpoints do (`appliance.audit.checkpoint`).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

# In front of what is hashed, so that no other hash of this product can be taken for a link (RFC 6962 2.1).
_DOMAIN = b"readside audit row 1\0"
GENESIS = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the trail; `at` in epoch seconds, `hash` as `sha256:` and hexadecimal digits.

    Attributes:
        event_id: the row of the timeline that it tells of; none for what the trail says of itself.
    """

    seq: int
    event_id: int | None
    at: float
    body: str
    hash: str


def link(former: str, *, seq: int, event_id: int | None, at: float, body: str) -> str:
    """Return the hash of a row that follows the one whose hash is `former`; `GENESIS` for the first."""
    data = body.encode()
    head = struct.pack(">QqdQ", seq, -1 if event_id is None else event_id, at, len(data))
    digest = hashlib.sha256(_DOMAIN + bytes.fromhex(former.removeprefix("sha256:")) + head + data)
    return f"sha256:{digest.hexdigest()}"


def follows(row: Row, former: str) -> bool:
    """Say whether a row is what stood after `former` when it was written."""
    made = link(former, seq=row.seq, event_id=row.event_id, at=row.at, body=row.body)
    return made == row.hash
