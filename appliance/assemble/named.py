"""What a PACS announced and never came is looked after like what it was found to have.

Promises: what is on its way has the time of grace; each notice is compared once, and again when it says more.
Never: asks anybody.
"""

from __future__ import annotations

from typing import Final

from appliance.core import log
from appliance.core.words import short
from appliance.ledger import announced, missing
from appliance.ledger.engine import Ledger

_log = log.get("assemble")
# Each is a few milliseconds of a transaction that others wait for.
_AT_ONCE: Final = 20


def note_what_never_came(ledger: Ledger, peer: str, *, grace_seconds: float) -> int:
    """Compare a peer's notices of before the time of grace with what came; return how many lack something."""
    now = ledger.clock.now()
    before = now - grace_seconds
    with ledger.read() as tx:
        if not announced.to_compare(tx, peer, before=before, limit=1):
            return 0
    with ledger.write() as tx:
        found = announced.to_compare(tx, peer, before=before, limit=_AT_ONCE)
        lacking = [one for one in found if one.absent]
        for one in lacking:
            missing.note(tx, peer, one.study_uid, absent=one.absent, at=now, due_at=now)
        announced.compared(tx, [one.notice_id for one in found], at=now)
    for one in lacking:
        _log.info("reconcile.absent", peer=peer, study=short(one.study_uid), absent=one.absent)
    return len(lacking)
