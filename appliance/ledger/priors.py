"""Earlier studies of a patient that a job waits for: which were asked for, which came, which not and why.

Promises: a job waits until its row ended or the time is over, whichever comes first: its own row says when it
is due, so that no crash and no lost bell makes it wait longer. What a job is compared with stands once its
row ended, and is the same for every attempt at it.
Never: asks anybody, or holds whose studies they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.ledger import events, fetches
from appliance.ledger.engine import Tx
from appliance.ledger.missing import of_study as missed_of_study
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import jobs, prior_asks, priors

# The mode of a job on a study that was fetched for comparison alone: its result is sent to nobody.
MODE = "prior"
LATE = "priors.late"
DONE = "priors.done"


class PriorState(StrEnum):
    """Where an earlier study stands."""

    WAITED = "WAITED"
    USED = "USED"
    LACKING = "LACKING"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is known of the earlier studies for one job; times in epoch seconds."""

    id: int
    job_id: int
    study_uid: str
    route: str
    wait_seconds: float
    until_at: float
    due_at: float
    answered_at: float | None
    found: int | None
    fitting: int | None
    silent: int | None
    word: str | None
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class Prior:
    """One earlier study that was chosen; `only` when it is here for comparison and nothing else."""

    id: int
    ask_id: int
    study_uid: str
    peer: str | None
    only: bool
    state: PriorState
    word: str | None
    result_id: int | None
    chosen_at: float
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An earlier study to wait for; with a `peer` it has to be fetched from there."""

    study_uid: str
    peer: str | None
    only: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How many earlier studies the peers named, how many of them fit, and how many peers were silent."""

    found: int
    fitting: int
    silent: int


def open_ask(tx: Tx, job_id: int, *, study_uid: str, route: str, wait_seconds: float, at: float) -> bool:
    """Let a job that nobody took yet wait for earlier studies; say whether it does so since now."""
    until = at + wait_seconds
    here = (jobs.c.id == job_id, jobs.c.state == JobState.WAITING, jobs.c.attempts == 0)
    if tx.execute(sa.select(jobs.c.id).where(*here)).first() is None:
        return False
    values = {"job_id": job_id, "study_uid": study_uid, "route": route, "wait_seconds": wait_seconds}
    if not insert_unless_there(tx, prior_asks, values | {"until_at": until, "due_at": at}):
        return False
    tx.execute(sa.update(jobs).where(*here).values(not_before=until))
    return True


def again(tx: Tx, former_job_id: int, job_id: int, *, at: float) -> None:
    """Let a job that repeats another wait as that did: what came too late then may be here now."""
    former = of_job(tx, former_job_id)
    if former is not None:
        named = {"study_uid": former.study_uid, "route": former.route}
        open_ask(tx, job_id, **named, wait_seconds=former.wait_seconds, at=at)


def unanswered(tx: Tx, *, at: float) -> list[Ask]:
    """Return what peers have to be asked about now, the longest due first."""
    waits = (prior_asks.c.ended_at.is_(None), prior_asks.c.answered_at.is_(None), prior_asks.c.due_at <= at)
    return _asks(tx, sa.select(prior_asks).where(*waits).order_by(prior_asks.c.due_at, prior_asks.c.id))


def answered(tx: Tx) -> list[Ask]:
    """Return what has its answer and waits for studies, oldest first."""
    waits = (prior_asks.c.ended_at.is_(None), prior_asks.c.answered_at.is_not(None))
    return _asks(tx, sa.select(prior_asks).where(*waits).order_by(prior_asks.c.id))


def put_off(tx: Tx, ask: Ask, *, word: str, silent: int, due_at: float) -> None:
    """Ask again later: nobody answered."""
    here = sa.update(prior_asks).where(prior_asks.c.id == ask.id, prior_asks.c.ended_at.is_(None))
    tx.execute(here.values(word=word, silent=silent, due_at=due_at))


def choose(tx: Tx, ask: Ask, choices: Sequence[Choice], answer: Answer, *, at: float) -> bool:
    """Record which studies a job waits for, and ask for those that are not here; say whether it still waits.

    The order of the choices is the order of the rows.
    """
    here = (prior_asks.c.id == ask.id, prior_asks.c.ended_at.is_(None), prior_asks.c.answered_at.is_(None))
    if not tx.execute(sa.update(prior_asks).where(*here).values(answered_at=at, **vars(answer))).rowcount:
        return False
    for choice in choices:
        row: dict[str, Any] = {**vars(choice), "ask_id": ask.id, "state": PriorState.WAITED, "chosen_at": at}
        tx.execute(priors.insert().values(**row))
        if choice.peer is not None:
            fetches.ask(tx, choice.study_uid, choice.peer, by=fetches.TO_COMPARE, at=at)
    told = {"job": ask.job_id, "route": ask.route, "found": answer.found, "chosen": len(choices)}
    events.add(tx, "priors.chosen", at=at, study_uid=ask.study_uid, **told)
    return True


def use(tx: Tx, prior: Prior, result_id: int, *, at: float) -> None:
    """Record which result of an earlier study the job is compared with."""
    _settle(tx, prior.id, PriorState.USED, word=None, result_id=result_id, at=at)


def lack(tx: Tx, prior: Prior, word: str, *, at: float) -> None:
    """Record why the job is not compared with an earlier study."""
    _settle(tx, prior.id, PriorState.LACKING, word=word, result_id=None, at=at)


def _settle(
    tx: Tx, prior_id: int, state: PriorState, *, word: str | None, result_id: int | None, at: float
) -> None:
    """Settle one that is waited for, unless the job went on meanwhile."""
    still = sa.exists().where(prior_asks.c.id == priors.c.ask_id, prior_asks.c.ended_at.is_(None))
    here = sa.update(priors).where(priors.c.id == prior_id, priors.c.state == PriorState.WAITED, still)
    tx.execute(here.values(state=state, word=word, result_id=result_id, ended_at=at))


def end(tx: Tx, ask: Ask, word: str, *, at: float) -> bool:
    """End the wait: what is not here by now is lacking, and the job is due; say whether it still waited."""
    here = sa.update(prior_asks).where(prior_asks.c.id == ask.id, prior_asks.c.ended_at.is_(None))
    if not tx.execute(here.values(word=word, ended_at=at)).rowcount:
        return False
    late = sa.update(priors).where(priors.c.ask_id == ask.id, priors.c.state == PriorState.WAITED)
    tx.execute(late.values(state=PriorState.LACKING, word=word, ended_at=at))
    waiting = (jobs.c.id == ask.job_id, jobs.c.state == JobState.WAITING, jobs.c.attempts == 0)
    tx.execute(sa.update(jobs).where(*waiting, jobs.c.not_before > at).values(not_before=at))
    used = len([one for one in of_ask(tx, ask.id) if one.state is PriorState.USED])
    told = {"job": ask.job_id, "route": ask.route, "used": used, "reason": word}
    events.add(tx, "priors.ended", at=at, study_uid=ask.study_uid, **told)
    return True


def close(tx: Tx, job_id: int, *, at: float) -> None:
    """End a wait because the job begins: from here on nothing about it changes."""
    ask = of_job(tx, job_id)
    if ask is not None and ask.ended_at is None:
        end(tx, ask, ask.word or LATE, at=at)


def of_job(tx: Tx, job_id: int) -> Ask | None:
    """Return what one job waits or waited for; nothing where its route asks for no earlier studies."""
    found = _asks(tx, sa.select(prior_asks).where(prior_asks.c.job_id == job_id))
    return found[0] if found else None


def of_study(tx: Tx, study_uid: str) -> dict[int, Ask]:
    """Return what the jobs of a study wait or waited for, by job."""
    query = sa.select(prior_asks).where(prior_asks.c.study_uid == study_uid)
    return {ask.job_id: ask for ask in _asks(tx, query)}


def of_ask(tx: Tx, ask_id: int) -> list[Prior]:
    """Return the earlier studies that were chosen, the newest study first."""
    query = sa.select(priors).where(priors.c.ask_id == ask_id).order_by(priors.c.id)
    return [_prior(row) for row in tx.execute(query)]


def sought_by(tx: Tx, study_uid: str, *, last_at: float) -> frozenset[str]:
    """Return the routes that a study is here for, where it is here for comparison and nothing else.

    It is here for itself, and the answer empty, once somebody else asked for it, reconciliation missed it, or
    something came that the box had not asked for: then every route judges it as any study.

    Args:
        tx: an open transaction.
        study_uid: Study Instance UID.
        last_at: when something last arrived for it, in epoch seconds.
    """
    query = sa.select(prior_asks.c.route).join(priors, priors.c.ask_id == prior_asks.c.id)
    routes = frozenset(tx.execute(query.where(priors.c.study_uid == study_uid, priors.c.only)).scalars())
    if not routes:
        return routes
    asked = fetches.of_study(tx, study_uid)
    by_others = any(row.asked_by != fetches.TO_COMPARE for row in asked) or bool(
        missed_of_study(tx, study_uid)
    )
    unasked = bool(asked) and all(row.ended_at is not None and row.ended_at < last_at for row in asked)
    return frozenset() if by_others or unasked else routes


def _asks(tx: Tx, query: sa.Select[Any]) -> list[Ask]:
    return [Ask(**row._mapping) for row in tx.execute(query)]


def _prior(row: Any) -> Prior:
    return Prior(**{**row._mapping, "state": PriorState(row.state)})
