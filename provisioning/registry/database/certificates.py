"""The certificates of devices, and the devices that came back after theirs had ended.

Promises: a device is known by a certificate that holds: not ended, not revoked, of an enrolled device.
Never: deletes a certificate: a signed paper of years ago is held against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.rows import insert_unless_there
from provisioning.registry.database import devices as hardware
from provisioning.registry.database.devices import Device
from provisioning.registry.database.tables import certificates, returns
from provisioning.registry.database.words import DeviceState


@dataclass(frozen=True, kw_only=True)
class Issued:
    """One certificate; `serial` in hexadecimal, times in epoch seconds."""

    serial: str
    device: str
    slot: str
    pem: str
    begins_at: float
    ends_at: float
    revoked_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Return:
    """A device that asks to come back, and when a person let it; times in epoch seconds."""

    device: str
    asked_at: float
    approved_at: float | None


def add(tx: sa.Connection, issued: Issued) -> None:
    """Keep a certificate that was made."""
    tx.execute(
        certificates.insert().values(
            serial=issued.serial,
            device=issued.device,
            slot=issued.slot,
            pem=issued.pem,
            begins_at=issued.begins_at,
            ends_at=issued.ends_at,
        )
    )


def newest(tx: sa.Connection, device: str) -> Issued | None:
    """Return a device's certificate that ends last and was not revoked, ended or not."""
    query = (
        sa.select(certificates)
        .where(certificates.c.device == device, certificates.c.revoked_at.is_(None))
        .order_by(certificates.c.ends_at.desc())
        .limit(1)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else _issued(row)


def of_device(tx: sa.Connection, device: str) -> list[Issued]:
    """Return every certificate of a device, the one that ends last first."""
    query = sa.select(certificates).where(certificates.c.device == device)
    return [_issued(row) for row in tx.execute(query.order_by(certificates.c.ends_at.desc()))]


def revoke(tx: sa.Connection, device: str, *, at: float) -> int:
    """Revoke every certificate of a device that was not; return how many."""
    here = (certificates.c.device == device) & certificates.c.revoked_at.is_(None)
    return tx.execute(sa.update(certificates).where(here).values(revoked_at=at)).rowcount


def holder(tx: sa.Connection, device: str, *, at: float) -> Device | None:
    """Return a device that is known at this time: enrolled, with a certificate that holds."""
    found, last = hardware.find(tx, device), newest(tx, device)
    if found is None or last is None or found.state is not DeviceState.ENROLLED:
        return None
    return found if last.begins_at <= at < last.ends_at else None


def ask_back(tx: sa.Connection, device: str, *, at: float) -> Return:
    """Note that a device asks to come back, and return what became of its asking."""
    insert_unless_there(tx, returns, {"device": device, "asked_at": at})
    row = tx.execute(sa.select(returns).where(returns.c.device == device)).one()
    return Return(**row._mapping)


def approve(tx: sa.Connection, device: str, *, at: float) -> bool:
    """Let a device that asks come back, once; false if it does not ask, or was let already."""
    here = (returns.c.device == device) & returns.c.approved_at.is_(None)
    return bool(tx.execute(sa.update(returns).where(here).values(approved_at=at)).rowcount)


def came_back(tx: sa.Connection, device: str) -> None:
    """Forget that a device asked, because it is back."""
    tx.execute(sa.delete(returns).where(returns.c.device == device))


def asking(tx: sa.Connection) -> list[Return]:
    """Return the devices that ask to come back, the longest waiting first."""
    return [Return(**row._mapping) for row in tx.execute(sa.select(returns).order_by(returns.c.asked_at))]


def _issued(row: Any) -> Issued:
    return Issued(**row._mapping)
