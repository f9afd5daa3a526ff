"""What a peer is said not to have taken, and has: its answer was lost, and it refused what it had already.

Promises: only what the peer itself names is said to be there; a look is bounded, and the newest studies come
first. Nothing is concluded from silence, nor from what is not named.
Never: talks to the network itself, or gives anything up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from appliance.core import log
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import short
from appliance.ledger import given_up
from appliance.ledger.engine import Ledger
from dicom_node.find import FoundInstance

_log = log.get("assemble")


def note_found(ledger: Ledger, peer: str, study_uid: str, there: Sequence[FoundInstance]) -> int:
    """Record what a peer has after all of a study's objects; return how many."""
    named = {one.sop_instance_uid for one in there}
    with ledger.read() as tx:
        found = given_up.of_study(tx, peer, study_uid) & named
    if not found:
        return 0
    with ledger.write() as tx:
        count = given_up.found_there(tx, peer, study_uid, found, at=ledger.clock.now())
    _log.warning("courier.found_there", peer=peer, study=short(study_uid), objects=count)
    return count


def look(
    ledger: Ledger,
    peer: str,
    instances: Callable[[str], Sequence[FoundInstance] | None],
    *,
    hours_back: float,
    limits: Limits = DEFAULT,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Ask a peer about the studies of the last hours of which something was given up there.

    `instances` gives all instances of a study, results among them; None where the peer did not answer.
    """
    since = ledger.clock.now() - hours_back * 3600
    with ledger.read() as tx:
        wanted = given_up.studies_of(tx, peer, since=since, limit=limits.reconcile_studies_max)
    for study_uid in wanted:
        there = None if stopping() else instances(study_uid)
        if there is None:
            return
        note_found(ledger, peer, study_uid, there)
