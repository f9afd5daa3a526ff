"""Which packages that a registry brought may go: all but what serves, the one before, and what is under way.

Promises: what a person installed, keeps or shadows stays; nothing goes while a new release is being watched.
Never: removes what a job that waits still needs.
"""

from __future__ import annotations

from appliance.core import log
from appliance.ledger import controls, passages, versions
from appliance.ledger.engine import Tx
from appliance.ledger.versions import Version
from appliance.sync.activate import remove
from appliance.sync.box import ModelBox, Refused
from appliance.sync.phase import Phase

_log = log.get("registry")


def tidy(box: ModelBox) -> int:
    """Remove packages that nothing needs any more; return how many went.

    Raises:
        Busy: another command works on this box's models.
        DiskFault: the disk failed.
    """
    with box.ledger.read() as tx:
        old = removable(tx, at=box.now())
    gone = 0
    for row in old:
        try:
            remove(box, row.name, row.version)
        except Refused as refused:
            # A job that waits still needs it, say: the next turn asks again.
            _log.info("registry.kept", model=row.name, version=row.version, reason=str(refused))
        else:
            gone += 1
    return gone


def removable(tx: Tx, *, at: float) -> list[Version]:
    """Return the versions whose files may go."""
    active = versions.active(tx)
    brought = {passage.digest: passage for passage in passages.everything(tx)}
    watched = {p.name for p in brought.values() if p.ended_at is None and p.phase != Phase.COMMITTED}
    needed = {row.digest for row in active.values()} | {row.former_digest for row in active.values()}
    return [
        row
        for row in versions.everything(tx)
        if row.here
        and row.digest in brought
        and brought[row.digest].ended_at is not None
        and row.digest not in needed
        and row.name not in watched
        and not controls.pinned(tx, row.name, row.version, at=at)
    ]
