"""Begin every wait anew after the wall clock was set: times that were written before mean nothing.

Promises: nothing falls due because of the step, and nothing waits for longer than it would have without it.
Never: changes when something came, was decided or was sent.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState, JobState, StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.tables import (
    acceptances,
    deliveries,
    fetches,
    jobs,
    looks,
    missed,
    notices,
    promises,
    series,
    services,
    studies,
    uncommitted,
    workitems,
)
from appliance.ledger.tables import events as timeline

STEPPED = "clock.stepped"
_WAITING = (DeliveryState.PENDING, DeliveryState.LATER)


def begin_anew(tx: Tx, *, at: float, step_seconds: float, limits: Limits) -> None:
    """Begin anew what gathers, is leased or waits; note the step. `at` in epoch seconds after it.

    A study that gathers gets its whole quiet time again, a lease its whole length, and what waits longer than
    it ever would is due now.
    """
    gathering = sa.select(studies.c.study_uid).where(studies.c.state == StudyState.GATHERING)
    tx.execute(sa.update(series).where(series.c.study_uid.in_(gathering)).values(last_at=at))
    gathers = studies.c.state == StudyState.GATHERING
    tx.execute(sa.update(studies).where(gathers).values(last_at=at, gathering_since=at, asked_at=None))
    _lease(tx, jobs, jobs.c.state == JobState.LEASED, at + limits.lease_seconds)
    _lease(tx, jobs, jobs.c.state == JobState.HELD, at)
    _lease(tx, deliveries, deliveries.c.state == DeliveryState.SENDING, at + limits.delivery_lease_seconds)
    for column, waits in (
        (jobs.c.not_before, jobs.c.state == JobState.WAITING),
        (deliveries.c.due_at, deliveries.c.state.in_(_WAITING)),
        (uncommitted.c.due_at, sa.true()),
        (promises.c.due_at, sa.true()),
        (fetches.c.due_at, sa.true()),
        (missed.c.due_at, sa.true()),
        (notices.c.changed_at, sa.true()),
        (workitems.c.due_at, workitems.c.ended_at.is_(None)),
        (looks.c.at, sa.true()),
        (acceptances.c.asked_at, sa.true()),
        (services.c.started_at, sa.true()),
    ):
        tx.execute(sa.update(column.table).where(waits, column > at).values({column: at}))
    tx.execute(sa.update(services).values(beat_at=at))
    events.add(tx, STEPPED, at=at, seconds=round(step_seconds))


def steps_since(tx: Tx, since: float) -> list[tuple[float, float]]:
    """Return when the clock was set after a moment, and by how many seconds."""
    query = sa.select(timeline.c.at, timeline.c.detail).where(
        timeline.c.at > since, timeline.c.word == STEPPED
    )
    return [(row.at, float(row.detail["seconds"])) for row in tx.execute(query)]


def _lease(tx: Tx, table: sa.Table, held: sa.ColumnElement[bool], until: float) -> None:
    """Set when leases end, where there are some."""
    tx.execute(sa.update(table).where(held, table.c.lease_until.is_not(None)).values(lease_until=until))
