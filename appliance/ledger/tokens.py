"""Console sessions and links that log in once; only their digests are kept."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import console_tokens


class TokenKind(StrEnum):
    """What a token is good for."""

    SESSION = "session"
    LOGIN_LINK = "login link"


def issue(tx: Tx, kind: TokenKind, username: str, *, at: float, seconds: float) -> str:
    """Make a token and return it; this is the only time it can be read."""
    token = secrets.token_urlsafe(32)
    tx.execute(sa.delete(console_tokens).where(console_tokens.c.expires_at < at))
    row = {"token_digest": _digest(token), "kind": kind, "username": username, "created_at": at}
    insert_unless_there(tx, console_tokens, row | {"expires_at": at + seconds})
    return token


def holder(tx: Tx, kind: TokenKind, token: str, *, at: float) -> str | None:
    """Return whom a token speaks for, or nothing if it is unknown or too old."""
    return tx.execute(
        sa.select(console_tokens.c.username).where(
            console_tokens.c.token_digest == _digest(token),
            console_tokens.c.kind == kind,
            console_tokens.c.expires_at >= at,
        )
    ).scalar_one_or_none()


def spend(tx: Tx, kind: TokenKind, token: str, *, at: float) -> str | None:
    """Return whom a token speaks for and make it worthless; of two who spend it, one succeeds."""
    spent = sa.delete(console_tokens).where(
        console_tokens.c.token_digest == _digest(token),
        console_tokens.c.kind == kind,
        console_tokens.c.expires_at >= at,
    )
    return tx.execute(spent.returning(console_tokens.c.username)).scalar_one_or_none()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
