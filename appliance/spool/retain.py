"""Retention: the images of a finished study go after the days the site chose, with a row that says so.

The row comes first: after a crash in between, the sweep finds bytes that a purged row no longer claims and
removes them.
Nothing unfinished is ever removed, whatever the disk says.
"""

from __future__ import annotations

from appliance.core import log
from appliance.disk.durable import remove_file
from appliance.ledger import custody, results
from appliance.ledger.engine import Ledger
from appliance.spool.store import Spool

_log = log.get("retain")
_BATCH = 200
_DAY_SECONDS = 86_400


def purge_old(ledger: Ledger, spool: Spool, *, retain_days: float) -> int:
    """Purge one batch of old instances; return how many."""
    now = ledger.clock.now()
    with ledger.write() as tx:
        gone = custody.purgeable(tx, before=now - retain_days * _DAY_SECONDS, limit=_BATCH)
        custody.purge(tx, gone, at=now)
    for instance in gone:
        spool.remove(instance.location)
    if gone:
        _log.info("custody.purged", instances=len(gone))
    return len(gone)


def remove_unrecorded(ledger: Ledger, spool: Spool) -> int:
    """Remove frozen objects that no row names: their worker died before it could record them.

    Must run before anything is frozen; the work is done again and freezes its objects anew.
    """
    spool.clear_incoming()
    with ledger.read() as tx:
        known = results.known_files(tx)
    unrecorded = [name for name in spool.names() if name not in known]
    for name in unrecorded:
        remove_file(spool.root / name)
    if unrecorded:
        _log.info("retain.unrecorded", files=len(unrecorded))
    return len(unrecorded)
