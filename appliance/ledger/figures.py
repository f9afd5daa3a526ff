"""What models were given and what they answered, in numbers: for the question whether either drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import figures, results


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The numbers of one answer.

    Attributes:
        vendor: the number of an `appliance.core.vendors.Vendor`.
        numbers: by name; what is not known is not there.
        at: epoch seconds.
        result_id: whose numbers they are; the newest answer has the highest.
    """

    vendor: int
    numbers: Mapping[str, float]
    at: float = 0.0
    result_id: int = 0


def add(tx: Tx, job_id: int, model_digest: str, made: Figures, *, at: float) -> None:
    """Keep the numbers of the answer that a job came to."""
    result_id = tx.execute(sa.select(results.c.id).where(results.c.job_id == job_id)).scalar_one_or_none()
    if result_id is not None:
        row = {"result_id": result_id, "at": at, "model_digest": model_digest}
        row |= {"vendor": made.vendor, "numbers": dict(made.numbers)}
        insert_unless_there(tx, figures, row)


def strata(tx: Tx, since: float) -> list[tuple[str, int]]:
    """Return which package answered for the scanners of which maker since a moment."""
    query = sa.select(figures.c.model_digest, figures.c.vendor).where(figures.c.at >= since).distinct()
    return [(row.model_digest, row.vendor) for row in tx.execute(query)]


def oldest(tx: Tx, digest: str, vendor: int, count: int) -> list[Figures]:
    """Return the first answers of a package for one maker's scanners: what later ones are held against."""
    return _listed(tx, _of(digest, vendor).order_by(figures.c.result_id).limit(count))


def newest(tx: Tx, digest: str, vendor: int, count: int) -> list[Figures]:
    """Return the last answers of a package for one maker's scanners, the newest first."""
    return _listed(tx, _of(digest, vendor).order_by(figures.c.result_id.desc()).limit(count))


def between(tx: Tx, digest: str, vendor: int, begin: float, end: float) -> list[Figures]:
    """Return the answers of a time, in epoch seconds."""
    return _listed(tx, _of(digest, vendor).where(figures.c.at >= begin, figures.c.at < end))


def forget(tx: Tx, *, before: float) -> None:
    """Drop what is older than a moment."""
    tx.execute(sa.delete(figures).where(figures.c.at < before))


def _of(digest: str, vendor: int) -> sa.Select[Any]:
    return sa.select(figures).where(figures.c.model_digest == digest, figures.c.vendor == vendor)


def _listed(tx: Tx, query: sa.Select[Any]) -> list[Figures]:
    return [
        Figures(vendor=row.vendor, numbers=row.numbers, at=row.at, result_id=row.result_id)
        for row in tx.execute(query)
    ]
