"""Agreements: for each two versions of a model that were compared here, one row of numbers.

Promises: a comparison is added in the transaction in which it ends, so it counts once and not again.
Never: names a study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import agreements, comparisons
from models.beside import Pair, Tally, tally_of


@dataclass(frozen=True, kw_only=True)
class Between:
    """Two versions of one model: the one that answered, and the one that ran beside."""

    name: str
    old_digest: str
    old_version: str
    new_digest: str
    new_version: str


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One row of `agreements`; times in epoch seconds.

    Attributes:
        tally: of those that were compared.
        words: of those that were not, how many by word.
    """

    between: Between
    tally: Tally
    words: Mapping[str, int]
    first_at: float
    last_at: float

    @property
    def passed_over(self) -> int:
        """Return how many were not compared."""
        return sum(self.words.values())


def add(tx: Tx, between: Between, pair: Pair, *, at: float) -> None:
    """Add a comparison."""
    here, row = _row(tx, between, at)
    tally = tally_of(row.tally).added(pair)
    values = {"tally": tally.as_json(), "compared": tally.studies, "last_at": at}
    tx.execute(sa.update(agreements).where(*here).values(**values))


def pass_over(tx: Tx, between: Between, word: str, *, at: float) -> None:
    """Count one that was not compared."""
    here, row = _row(tx, between, at)
    words = {**row.words, str(word): row.words.get(str(word), 0) + 1}
    values = {"words": words, "passed_over": row.passed_over + 1, "last_at": at}
    tx.execute(sa.update(agreements).where(*here).values(**values))


def everything(tx: Tx, *, limit: int) -> list[Agreement]:
    """Return the agreements, the one that changed last first."""
    query = sa.select(agreements).order_by(agreements.c.last_at.desc(), agreements.c.new_digest).limit(limit)
    return [_agreement(row) for row in tx.execute(query)]


def astray(tx: Tx) -> int:
    """Count the comparisons that ended and are in no agreement, or in more than one."""
    sums = sa.select(sa.func.coalesce(sa.func.sum(agreements.c.compared + agreements.c.passed_over), 0))
    ended = sa.select(sa.func.count()).select_from(comparisons).where(comparisons.c.ended_at.is_not(None))
    return abs(int(tx.execute(sums).scalar_one()) - int(tx.execute(ended).scalar_one()))


def _row(tx: Tx, between: Between, at: float) -> tuple[tuple[sa.ColumnElement[bool], ...], Any]:
    """Return the row of two versions, made where there was none, held until the transaction ends."""
    fresh = {"tally": Tally().as_json(), "compared": 0, "words": {}, "passed_over": 0}
    insert_unless_there(tx, agreements, vars(between) | fresh | {"first_at": at, "last_at": at})
    here = (
        agreements.c.old_digest == between.old_digest,
        agreements.c.new_digest == between.new_digest,
    )
    return here, tx.execute(sa.select(agreements).where(*here).with_for_update()).one()


def _agreement(row: Any) -> Agreement:
    return Agreement(
        between=Between(**{name: getattr(row, name) for name in Between.__dataclass_fields__}),
        tally=tally_of(row.tally),
        words=row.words,
        first_at=row.first_at,
        last_at=row.last_at,
    )
