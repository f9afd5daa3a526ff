"""Ask the confirming peer how many instances a study has: a complete study need not wait for quiet.

The peer may hold results of this box in the same study, and may or may not count them;
neither way may make a study look complete too early, or wait for images that are results of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from appliance.assemble.ready import next_ask
from appliance.core import log
from appliance.core.config import Assembly
from appliance.core.words import DeliveryState, StudyState, short
from appliance.ledger import deliveries, results, studies
from appliance.ledger.engine import Ledger, Tx

_log = log.get("assemble")
_THERE = (DeliveryState.ACCEPTED, DeliveryState.COMMITTED)
# Study Instance UID -> the peer's count, or nothing when it does not say.
Ask = Callable[[str], int | None]


class Confirmer:
    """Asks one peer about the gathering studies that are due; the answers are rows."""

    def __init__(self, ledger: Ledger, assembly: Assembly, ask: Ask) -> None:
        self._ledger, self._assembly, self._ask = ledger, assembly, ask
        # When the next turn may find a study due, as of the last one; arrivals only ever put it off.
        self.next_due_at = -math.inf

    def turn(self) -> int:
        """Ask about every study that is due; return how many answers were counts."""
        now = self._ledger.clock.now()
        with self._ledger.read() as tx:
            asks = [(next_ask(s, self._assembly), s) for s in studies.in_state(tx, StudyState.GATHERING)]
        due = [study for at, study in asks if at <= now]
        # What is asked now is due again after a while at the soonest; its rows say so at the next turn.
        again = [now + self._assembly.confirm_every_seconds] if due else []
        self.next_due_at = min([*again, *(at for at, _ in asks if at > now)], default=math.inf)
        return sum(self._confirm(study) for study in due)

    def _confirm(self, study: studies.Study) -> bool:
        with self._ledger.read() as tx:
            kept = studies.count_of(tx, study.study_uid)
        at = self._ledger.clock.now()
        said = self._ask(study.study_uid)
        with self._ledger.write() as tx:
            absent = _results_only_there(tx, study.study_uid, self._assembly.confirm_with)
            count = images_there(said, kept=kept, results=absent)
            studies.asked(tx, study.study_uid, count=count, kept=kept, at=at)
        _log.info("assemble.asked", study=short(study.study_uid), kept=kept, count=count, said=said)
        return count is not None


def images_there(said: int | None, *, kept: int, results: int) -> int | None:
    """Return how many instances the peer has besides `results` of this box that only the peer holds.

    Nothing when the number can be read both ways, as complete and as not: then the quiet time decides.
    """
    if said is None or said >= kept + results:
        return said if said is None else said - results
    return said if kept >= said else None


def _results_only_there(tx: Tx, study_uid: str, peer: str | None) -> int:
    """Count the results that a peer took from this box and did not send back to it."""
    taken = [
        delivery.object_id
        for delivery in deliveries.of_study(tx, study_uid)
        if delivery.peer == peer and delivery.state in _THERE
    ]
    if not taken:
        return 0
    here = {instance.sop_instance_uid for instance in studies.instances_of(tx, study_uid)}
    found = [results.find_object(tx, object_id) for object_id in taken]
    return sum(item is not None and item.sop_instance_uid not in here for item in found)
