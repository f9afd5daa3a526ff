"""What may be asked of a worker soon: series of studies that still gather, and studies that jobs wait for."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.core.words import JobState, StudyState
from appliance.ledger.engine import Tx
from appliance.ledger.studies import Series
from appliance.ledger.tables import jobs, series, studies


def gathering(tx: Tx) -> list[Series]:
    """Return the series of gathering studies, of the study first that began first."""
    query = (
        sa.select(series)
        .join(studies, studies.c.study_uid == series.c.study_uid)
        .where(studies.c.state == StudyState.GATHERING)
        .order_by(studies.c.gathering_since, studies.c.study_uid, series.c.first_at, series.c.series_uid)
    )
    return [Series(**row._mapping) for row in tx.execute(query)]


def expected(tx: Tx) -> set[str]:
    """Return the studies that a job is to come for, or waits or is worked on for."""
    open_studies = sa.select(studies.c.study_uid).where(
        studies.c.state.in_([StudyState.GATHERING, StudyState.READY])
    )
    open_jobs = sa.select(jobs.c.study_uid).where(jobs.c.state.in_([JobState.WAITING, JobState.LEASED]))
    return set(tx.execute(open_studies.union(open_jobs)).scalars())
