"""Conservation: what came in is somewhere, and what was decided came to something (promises P2, P3, P6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import InstanceState, JobState, Verdict
from appliance.ledger import agreements, commitments, returned
from appliance.ledger.engine import Tx
from appliance.ledger.tables import (
    decisions,
    deliveries,
    instances,
    jobs,
    objects,
    results,
    rounds,
    studies,
    uncommitted,
)

_ENDED = (JobState.DONE, JobState.FAILED, JobState.HELD)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Everything the box has, counted in one transaction. `balance` is 0 unless something is lost."""

    kept: int
    duplicates: int
    # The box's own results that a peer sent back; they are among the kept.
    returned: int
    in_studies: int
    quarantined: int
    purged: int
    studies: Mapping[str, int]
    decisions: int
    jobs: Mapping[str, int]
    results: int
    objects: int
    deliveries: Mapping[str, int]
    faults: Mapping[str, int]

    @property
    def balance(self) -> int:
        """Return how many rows break a promise."""
        return sum(self.faults.values())


def count(tx: Tx) -> Counts:
    """Count every kind of row and check that they add up."""
    by_state = _by(tx, instances, instances.c.state)
    return Counts(
        kept=_all(tx, instances),
        duplicates=tx.execute(
            sa.select(sa.func.coalesce(sa.func.sum(instances.c.copies - 1), 0))
        ).scalar_one(),
        returned=returned.count(tx),
        in_studies=by_state.get(InstanceState.STUDY, 0),
        quarantined=by_state.get(InstanceState.QUARANTINED, 0),
        purged=by_state.get(InstanceState.PURGED, 0),
        studies=_by(tx, studies, studies.c.state),
        decisions=_all(tx, decisions),
        jobs=_by(tx, jobs, jobs.c.state),
        results=_all(tx, results),
        objects=_all(tx, objects),
        deliveries=_by(tx, deliveries, deliveries.c.state),
        faults=_faults(tx),
    )


def _faults(tx: Tx) -> dict[str, int]:
    """Count the rows that break a promise, by promise."""
    return {
        "instances_nowhere": _where(tx, instances, instances.c.state.not_in(list(InstanceState))),
        "instances_without_study": _where(
            tx, instances, ~sa.exists().where(studies.c.study_uid == instances.c.study_uid)
        ),
        "instances_gone": _short(tx),
        "routes_without_decision": _undecided(tx),
        "matches_without_job": _where(
            tx, decisions, decisions.c.verdict != Verdict.NO_MATCH, decisions.c.job_id.is_(None)
        ),
        "ended_without_result": _where(
            tx, jobs, jobs.c.state.in_(_ENDED[:2]), ~sa.exists().where(results.c.job_id == jobs.c.id)
        ),
        "results_of_unended": _where(
            tx, results, sa.exists().where(jobs.c.id == results.c.job_id, jobs.c.state.not_in(_ENDED))
        ),
        "uncommitted_astray": _where(tx, uncommitted, commitments.astray()),
        "comparisons_astray": agreements.astray(tx),
    }


def _undecided(tx: Tx) -> int:
    """Count the decided contents with too few or too many decisions, and decisions on no such content."""
    same = (
        decisions.c.study_uid == rounds.c.study_uid,
        decisions.c.content_digest == rounds.c.content_digest,
    )
    have = _count(decisions).where(*same).scalar_subquery()
    return _where(tx, rounds, rounds.c.routes != have) + _where(
        tx, decisions, ~sa.exists().where(*same, rounds.c.routes.is_not(None))
    )


def _short(tx: Tx) -> int:
    """Count the studies that hold no instance, and the contents that had more than their study has."""
    have = _count(instances).where(instances.c.study_uid == rounds.c.study_uid)
    empty = ~sa.exists().where(instances.c.study_uid == studies.c.study_uid)
    return _where(tx, studies, empty) + _where(tx, rounds, rounds.c.instances > have.scalar_subquery())


def _all(tx: Tx, table: sa.Table) -> int:
    return _where(tx, table)


def _where(tx: Tx, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(_count(table).where(*conditions)).scalar_one())


def _count(table: sa.Table) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table)


def _by(tx: Tx, table: sa.Table, column: sa.ColumnElement[Any]) -> dict[str, int]:
    rows = tx.execute(sa.select(column, sa.func.count()).select_from(table).group_by(column))
    return {row[0]: row[1] for row in rows}
