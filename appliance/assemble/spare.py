"""One odd study must not stop the others: what nobody foresaw holds that study, visibly, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from appliance.core import log
from appliance.core.words import short
from appliance.ledger import priors, studies
from appliance.ledger.engine import Ledger
from appliance.ledger.priors import Ask
from appliance.ledger.reading import LedgerFault
from appliance.ledger.studies import Study

_log = log.get("assemble")
T = TypeVar("T")


def spared_ask(ledger: Ledger, ask: Ask, work: Callable[[], bool]) -> bool:
    """Do what a job waits for; if it fails in a way that nobody foresaw, let the job go on without it.

    Raises:
        LedgerFault: the ledger itself failed; that is no study's fault.
    """

    def give_up(error: Exception) -> bool:
        study, kind = short(ask.study_uid), type(error).__name__
        _log.error("priors.fault", study=study, job=ask.job_id, error=kind, where=log.where(error))
        with ledger.write() as tx:
            priors.end(tx, ask, "priors.fault", at=ledger.clock.now())
        return False

    return _spared(work, give_up)


def spared(ledger: Ledger, study: Study, work: Callable[[], T], otherwise: T) -> T:
    """Do a study's work; if it fails in a way that nobody foresaw, hold the study and go on with `otherwise`.

    Raises:
        LedgerFault: the ledger itself failed; that is no study's fault.
    """

    def hold(error: Exception) -> T:
        incident, kind = secrets.token_hex(4), type(error).__name__
        _log.error(
            "assemble.fault",
            study=short(study.study_uid),
            incident=incident,
            error=kind,
            where=log.where(error),
        )
        reason = f"an unforeseen {kind} while it was judged, incident {incident}; report it, then retry"
        with ledger.write() as tx:
            studies.hold(tx, study, reason=reason, at=ledger.clock.now())
        return otherwise

    return _spared(work, hold)


def _spared(work: Callable[[], T], on_fault: Callable[[Exception], T]) -> T:
    """Do some work; what nobody foresaw is for `on_fault`, but for a fault of the ledger."""
    try:
        return work()
    except LedgerFault:
        raise
    except Exception as error:  # noqa: BLE001 - the main loop of the conductor and of what is beside it
        return on_fault(error)
