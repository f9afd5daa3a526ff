"""What people at the site said about releases: hold, keep at one version, agree; each with a name.

Promises: a hold and a pin end by themselves at their time; each that was placed, lifted or given is an event.
Never: takes an agreement back, or changes which version serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.ledger import events, passages
from appliance.ledger.engine import Tx
from appliance.ledger.passage_tables import consents, controls
from appliance.ledger.passages import Passage
from appliance.ledger.rows import insert_unless_there

EVERY_MODEL = ""


class Kind(StrEnum):
    """What was said: nothing changes; or nothing but this version serves."""

    HOLD = "hold"
    PIN = "pin"


@dataclass(frozen=True, kw_only=True)
class Control:
    """One row; times in epoch seconds. An empty `model` means all of them."""

    id: int
    kind: Kind
    model: str
    version: str | None
    reason: str
    placed_by: str
    placed_at: float
    until_at: float
    ended_at: float | None
    ended_by: str | None


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who agreed to a release, and when."""

    digest: str
    model: str
    version: str
    given_by: str
    given_at: float


class NothingWaits(Exception):
    """There is no such release to agree to."""


def place(
    tx: Tx,
    kind: Kind,
    model: str,
    *,
    reason: str,
    by: str,
    at: float,
    until: float,
    version: str | None = None,
) -> None:
    """Hold a model, or pin it to a version; an earlier one of the kind and the model gives way."""
    _end(tx, kind, model, by=by, at=at)
    values = {"kind": kind, "model": model, "version": version, "reason": reason}
    times = {"placed_by": by, "placed_at": at, "until_at": until}
    tx.execute(controls.insert().values(**values, **times))
    word = "registry.held" if kind is Kind.HOLD else "registry.pinned"
    events.add(
        tx, word, at=at, model=model or "every model", version=version, reason=reason, by=by, until=until
    )


def lift(tx: Tx, model: str, *, by: str, at: float) -> int:
    """End hold and pin of a model; return how many were in force."""
    in_force = [control for control in everything(tx, at=at) if control.model == model]
    for kind in Kind:
        _end(tx, kind, model, by=by, at=at)
    if in_force:
        events.add(tx, "registry.lifted", at=at, model=model or "every model", by=by)
    return len(in_force)


def everything(tx: Tx, *, at: float) -> list[Control]:
    """Return what is in force, the oldest first."""
    query = sa.select(controls).where(controls.c.ended_at.is_(None), controls.c.until_at > at)
    return [_control(row) for row in tx.execute(query.order_by(controls.c.id))]


def against(tx: Tx, name: str, version: str, *, at: float) -> Control | None:
    """Return what speaks against letting a version of a model serve now."""
    for control in everything(tx, at=at):
        if control.model in (EVERY_MODEL, name) and (control.kind is Kind.HOLD or control.version != version):
            return control
    return None


def pinned(tx: Tx, name: str, version: str, *, at: float) -> bool:
    """Say whether a model is kept at this version."""
    said = (Kind.PIN, name, version)
    return any((one.kind, one.model, one.version) == said for one in everything(tx, at=at))


def consent(tx: Tx, name: str, version: str, *, by: str, at: float, account: str = "") -> Passage:
    """Agree to a release that is assigned, whether it waits for that already or not yet.

    Raises:
        NothingWaits: no such release is assigned here.
    """
    found = next((p for p in passages.under_way(tx) if (p.name, p.version) == (name, version)), None)
    if found is None:
        raise NothingWaits(f"No registry assigns {name} {version} to this box: there is nothing to agree to.")
    values = {"digest": found.digest, "model": name, "version": version, "given_by": by, "given_at": at}
    if insert_unless_there(tx, consents, values):
        detail = {"model": name, "version": version, "digest": found.digest, "by": by}
        events.add(tx, "registry.consented", at=at, **detail, account=account or None)
    return found


def consent_to(tx: Tx, digest: str) -> Consent | None:
    """Return who agreed to a package."""
    row = tx.execute(sa.select(consents).where(consents.c.digest == digest)).one_or_none()
    return None if row is None else Consent(**row._mapping)


def _end(tx: Tx, kind: Kind, model: str, *, by: str, at: float) -> None:
    tx.execute(
        sa.update(controls)
        .where(controls.c.kind == kind, controls.c.model == model, controls.c.ended_at.is_(None))
        .values(ended_at=at, ended_by=by)
    )


def _control(row: Any) -> Control:
    return Control(**{**row._mapping, "kind": Kind(row.kind)})
