"""Deliveries that were given up: a peer refused them or never answered for them, or a person ended them so.

Promises: one that its peer turns out to have is said to be accepted, whoever gave it up.
Never: gives up anything itself; touches what ended because something else went in its place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from appliance.core.words import DeliveryState
from appliance.ledger import events
from appliance.ledger.commitments import BY_NEWER
from appliance.ledger.deliveries import BY_FALLBACK
from appliance.ledger.engine import Tx
from appliance.ledger.states import DELIVERY
from appliance.ledger.tables import deliveries, objects, results


def studies_of(tx: Tx, peer: str, *, since: float, limit: int) -> list[str]:
    """Return the studies of which something made after `since` was given up at a peer, newest first."""
    newest = sa.func.max(deliveries.c.id)
    query = (
        _given_up(results.c.study_uid, peer)
        .where(deliveries.c.created_at >= since)
        .group_by(results.c.study_uid)
        .order_by(newest.desc())
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def of_study(tx: Tx, peer: str, study_uid: str) -> set[str]:
    """Return the SOP Instance UIDs of a study's objects that were given up at a peer."""
    query = _given_up(objects.c.sop_instance_uid, peer).where(results.c.study_uid == study_uid)
    return set(tx.execute(query).scalars())


def found_there(tx: Tx, peer: str, study_uid: str, sop_instance_uids: Collection[str], *, at: float) -> int:
    """Record that a peer has objects that were given up: its answer was lost; return how many."""
    assert DeliveryState.ACCEPTED in DELIVERY[DeliveryState.DEAD] & DELIVERY[DeliveryState.SETTLED]
    rows = tx.execute(
        _given_up(deliveries.c.id, peer)
        .add_columns(objects.c.sop_instance_uid, objects.c.output)
        .where(results.c.study_uid == study_uid)
        .with_for_update(of=deliveries)
    ).all()
    there = [row for row in rows if row.sop_instance_uid in sop_instance_uids]
    values = {
        "state": DeliveryState.ACCEPTED,
        "word": "courier.found_there",
        "status": None,
        "settled_at": at,
    }
    tx.execute(sa.update(deliveries).where(deliveries.c.id.in_([row.id for row in there])).values(**values))
    for row in there:
        detail = {"delivery": row.id, "output": row.output, "peer": peer}
        events.add(tx, "courier.found_there", at=at, study_uid=study_uid, **detail)
    return len(there)


def _given_up(column: sa.ColumnElement[Any], peer: str) -> sa.Select[Any]:
    by_person = sa.and_(
        deliveries.c.state == DeliveryState.SETTLED, deliveries.c.settled_by.not_in((BY_FALLBACK, BY_NEWER))
    )
    return (
        sa.select(column)
        .select_from(deliveries)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(deliveries.c.peer == peer, sa.or_(deliveries.c.state == DeliveryState.DEAD, by_person))
    )
