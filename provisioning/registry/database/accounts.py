"""People who may log in to the registry, with one role each, and their sessions.

Promises: a session is a random token of which the database keeps a digest; it ends by time, by log-out,
and at once when its account is disabled.
Never: deletes an account: its name stands in the audit trail, and must not become another person's.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.rows import insert_unless_there
from provisioning.registry.database.tables import accounts, sessions
from provisioning.registry.database.words import Role


@dataclass(frozen=True, kw_only=True)
class Account:
    """One person; times in epoch seconds."""

    name: str
    password_hash: str
    role: Role
    created_at: float
    disabled_at: float | None


def add(tx: sa.Connection, name: str, password_hash: str, role: Role, *, at: float) -> bool:
    """Make an account; false if there is one of this name, disabled or not."""
    row = {"name": name, "password_hash": password_hash, "role": role.value, "created_at": at}
    return insert_unless_there(tx, accounts, row)


def change(
    tx: sa.Connection, name: str, *, password_hash: str | None = None, role: Role | None = None
) -> None:
    """Give an account another password or role, and enable it; its sessions end."""
    values: dict[str, Any] = {"disabled_at": None}
    if password_hash is not None:
        values["password_hash"] = password_hash
    if role is not None:
        values["role"] = role.value
    tx.execute(sa.update(accounts).where(accounts.c.name == name).values(**values))
    end_all(tx, name)


def disable(tx: sa.Connection, name: str, *, at: float) -> bool:
    """Let an account in no more and end its sessions; false if it is none, or disabled already."""
    here = (accounts.c.name == name) & accounts.c.disabled_at.is_(None)
    end_all(tx, name)
    return bool(tx.execute(sa.update(accounts).where(here).values(disabled_at=at)).rowcount)


def find(tx: sa.Connection, name: str) -> Account | None:
    """Return an account, disabled ones too."""
    row = tx.execute(sa.select(accounts).where(accounts.c.name == name)).one_or_none()
    return None if row is None else _account(row)


def every(tx: sa.Connection) -> list[Account]:
    """Return all accounts by name."""
    return [_account(row) for row in tx.execute(sa.select(accounts).order_by(accounts.c.name))]


def open_session(tx: sa.Connection, name: str, *, at: float, seconds: float) -> str:
    """Make a session and return its token; this is the only time it can be read."""
    token = secrets.token_urlsafe(32)
    tx.execute(sa.delete(sessions).where(sessions.c.expires_at < at))
    row = {"token_digest": _digest(token), "account": name, "created_at": at, "expires_at": at + seconds}
    tx.execute(sessions.insert().values(**row))
    return token


def holder(tx: sa.Connection, token: str, *, at: float) -> Account | None:
    """Return whose session a token is; none if it is unknown, too old, or the account is disabled."""
    row = tx.execute(
        sa.select(accounts)
        .join(sessions, sessions.c.account == accounts.c.name)
        .where(
            sessions.c.token_digest == _digest(token),
            sessions.c.expires_at >= at,
            accounts.c.disabled_at.is_(None),
        )
    ).one_or_none()
    return None if row is None else _account(row)


def end(tx: sa.Connection, token: str) -> None:
    """End one session."""
    tx.execute(sa.delete(sessions).where(sessions.c.token_digest == _digest(token)))


def end_all(tx: sa.Connection, name: str) -> None:
    """End every session of an account."""
    tx.execute(sa.delete(sessions).where(sessions.c.account == name))


def _account(row: Any) -> Account:
    return Account(**{**row._mapping, "role": Role(row.role)})


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
