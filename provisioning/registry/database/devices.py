"""Slots and devices: the position at a site, and the hardware that stands there.

Promises: a slot has at most one enrolled device; whoever takes a slot over replaces who had it, in one
transaction.
Never: deletes a row; a device that is gone keeps its key's id, so that it is known again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.rows import insert_unless_there
from provisioning.registry.database.tables import devices, slots
from provisioning.registry.database.words import DeviceState


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A position at a site, by the name that stands in the signed assignments; times in epoch seconds.

    Attributes:
        site, gpu, vendor: short words by which rings are composed.
        ring: in which it gets new releases.
        offline_until: until when its silence is planned.
    """

    name: str
    site: str = ""
    gpu: str = ""
    vendor: str = ""
    ring: int | None = None
    offline_until: float | None = None
    created_at: float = 0.0
    retired_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Device:
    """One piece of hardware; `id` is the SHA-256 of its public key, `public_key` is PEM."""

    id: str
    slot: str
    serial: str
    public_key: str
    state: DeviceState
    enrolled_at: float | None
    last_seen_at: float | None


def add_slot(tx: sa.Connection, slot: Slot, *, at: float) -> bool:
    """Make a slot; false if there is one of this name."""
    row = {
        "name": slot.name,
        "site": slot.site,
        "gpu": slot.gpu,
        "vendor": slot.vendor,
        "ring": slot.ring,
        "offline_until": slot.offline_until,
        "created_at": at,
    }
    return insert_unless_there(tx, slots, row)


def change_slot(tx: sa.Connection, name: str, **values: Any) -> bool:
    """Change columns of a slot; false if there is none of this name."""
    return bool(tx.execute(sa.update(slots).where(slots.c.name == name).values(**values)).rowcount)


def slot(tx: sa.Connection, name: str) -> Slot | None:
    """Return a slot, retired ones too."""
    row = tx.execute(sa.select(slots).where(slots.c.name == name)).one_or_none()
    return None if row is None else Slot(**row._mapping)


def every_slot(tx: sa.Connection) -> list[Slot]:
    """Return the slots in use, by name."""
    query = sa.select(slots).where(slots.c.retired_at.is_(None)).order_by(slots.c.name)
    return [Slot(**row._mapping) for row in tx.execute(query)]


def enrol(
    tx: sa.Connection, device_id: str, *, slot: str, serial: str, public_key: str, at: float
) -> Device | None:
    """Make a device the one of its slot; return the one that was, now replaced.

    A device that was enrolled before, here or elsewhere, is moved.
    """
    here = (devices.c.slot == slot) & (devices.c.state == DeviceState.ENROLLED.value)
    former = tx.execute(sa.select(devices).where(here, devices.c.id != device_id)).one_or_none()
    if former is not None:
        set_state(tx, former.id, DeviceState.REPLACED)
    row = {"slot": slot, "serial": serial, "public_key": public_key}
    standing = {"state": DeviceState.ENROLLED.value, "enrolled_at": at}
    if not insert_unless_there(tx, devices, {"id": device_id, **row, **standing}):
        tx.execute(sa.update(devices).where(devices.c.id == device_id).values(**row, **standing))
    return None if former is None else _device(former)


def set_state(tx: sa.Connection, device_id: str, state: DeviceState) -> bool:
    """Change what a device is; false if it is unknown."""
    here = devices.c.id == device_id
    return bool(tx.execute(sa.update(devices).where(here).values(state=state.value)).rowcount)


def find(tx: sa.Connection, device_id: str) -> Device | None:
    """Return a device by its id."""
    row = tx.execute(sa.select(devices).where(devices.c.id == device_id)).one_or_none()
    return None if row is None else _device(row)


def device_of(tx: sa.Connection, slot: str) -> Device | None:
    """Return the enrolled device of a slot."""
    here = (devices.c.slot == slot) & (devices.c.state == DeviceState.ENROLLED.value)
    row = tx.execute(sa.select(devices).where(here)).one_or_none()
    return None if row is None else _device(row)


def every(tx: sa.Connection) -> list[Device]:
    """Return the enrolled devices, by slot."""
    enrolled = devices.c.state == DeviceState.ENROLLED.value
    query = sa.select(devices).where(enrolled).order_by(devices.c.slot, devices.c.id)
    return [_device(row) for row in tx.execute(query)]


def _device(row: Any) -> Device:
    return Device(**{**row._mapping, "state": DeviceState(row.state)})
