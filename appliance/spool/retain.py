"""Retention: the images and results of a finished study go after the days the site chose; a row says so.

The row comes first: after a crash in between, the sweep finds bytes that a purged row no longer claims and
removes them.
Nothing unfinished is ever removed, whatever the disk says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.core import log
from appliance.core.crash import crash_here
from appliance.core.words import InstanceState
from appliance.disk.durable import remove_file, translated
from appliance.ledger import custody, expiry, results
from appliance.ledger.engine import Ledger
from appliance.spool.alone import alone
from appliance.spool.release import SEGMENT_SUFFIX
from appliance.spool.seal import forget, read_seal
from appliance.spool.store import Spool

_log = log.get("retain")
_BATCH = 200
_DAY_SECONDS = 86_400


def purge_old(ledger: Ledger, spool: Spool, *, retain_days: float) -> int:
    """Purge one batch of old instances; return how many. While a sweep goes on, none."""
    with alone(spool, wait=False) as mine:
        return _purge(ledger, spool, retain_days=retain_days) if mine else 0


def purge_old_results(ledger: Ledger, spool: Spool, *, retain_days: float) -> int:
    """Purge one batch of old results' objects; return how many.

    What a crash leaves behind the row goes when a worker starts, see `remove_unrecorded`.
    """
    now = ledger.clock.now()
    with ledger.write() as tx:
        gone = expiry.expired(tx, before=now - retain_days * _DAY_SECONDS, limit=_BATCH)
        if gone:
            expiry.expire(tx, gone, at=now)
    for name in (name for one in gone for name in one.files):
        remove_file(spool.root / name)
    if gone:
        _log.info("custody.results_purged", objects=len(gone))
    return len(gone)


def _purge(ledger: Ledger, spool: Spool, *, retain_days: float) -> int:
    now = ledger.clock.now()
    with ledger.write() as tx:
        gone = custody.purgeable(tx, before=now - retain_days * _DAY_SECONDS, limit=_BATCH)
        custody.purge(tx, gone, at=now)
    crash_here("purged-rows")
    locations = [instance.location for instance in gone]
    empty = _emptied(ledger, spool, {location.file for location in locations})
    spool.remove_all([location for location in locations if location.file not in empty])
    for file in sorted(empty):
        forget(spool.root / file)
    if gone:
        _log.info("custody.purged", instances=len(gone))
    return len(gone)


def _emptied(ledger: Ledger, spool: Spool, files: set[str]) -> set[str]:
    """Return the segments that are done and of which nothing is kept any more: those go whole."""
    segments = {file for file in files if file.endswith(SEGMENT_SUFFIX)}
    with ledger.read() as tx:
        claims = {file: custody.claims(tx, file) for file in segments}
    return {file for file in segments if _is_empty(spool.root / file, claims[file])}


def _is_empty(path: Path, claims: Mapping[int, InstanceState]) -> bool:
    try:
        sealed = read_seal(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise translated(error, path) from error
    # A ledger that was put back from a backup lacks rows: then only a sweep may say what lives.
    return (
        sealed is not None
        and len(claims) >= sealed
        and all(state is InstanceState.PURGED for state in claims.values())
    )


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
