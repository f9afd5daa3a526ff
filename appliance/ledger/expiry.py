"""When the frozen objects of a result may go: long after their study is finished, with a row that says so.

Promises: what a delivery still needs is never among them; the rows of a result stay for ever (P7).
Never: removes bytes; `appliance.spool.retain` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from appliance.core.words import StudyState
from appliance.ledger import events
from appliance.ledger.custody import open_job
from appliance.ledger.engine import Tx
from appliance.ledger.tables import objects, results, studies


@dataclass(frozen=True, kw_only=True)
class Expired:
    """An object whose time is over: the files under the spool's root that hold it and its picture."""

    object_id: int
    study_uid: str
    files: tuple[str, ...]


def expired(tx: Tx, *, before: float, limit: int) -> list[Expired]:
    """Return objects of closed studies to which nothing was added since `before`, epoch seconds.

    The oldest first. A study is closed once each of its deliveries has ended.
    """
    finished = sa.and_(studies.c.state == StudyState.CLOSED, studies.c.last_at < before, ~open_job())
    query = (
        sa.select(objects.c.id, objects.c.file, objects.c.preview_file, results.c.study_uid)
        .join(results, results.c.id == objects.c.result_id)
        .join(studies, studies.c.study_uid == results.c.study_uid)
        .where(objects.c.purged_at.is_(None), results.c.created_at < before, finished)
        .order_by(results.c.created_at, objects.c.id)
        .limit(limit)
    )
    return [
        Expired(
            object_id=row.id,
            study_uid=row.study_uid,
            files=tuple(name for name in (row.file, row.preview_file) if name is not None),
        )
        for row in tx.execute(query)
    ]


def expire(tx: Tx, gone: Sequence[Expired], *, at: float) -> None:
    """Record that the box gives up the bytes of objects; the bytes are removed after this is durable."""
    named = objects.c.id.in_([one.object_id for one in gone])
    tx.execute(sa.update(objects).where(named).values(purged_at=at, preview_file=None))
    for study_uid, count in sorted(Counter(one.study_uid for one in gone).items()):
        events.add(tx, "custody.results_purged", at=at, study_uid=study_uid, objects=count)
