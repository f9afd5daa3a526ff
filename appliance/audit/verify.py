"""Verify a trail from its first row to its last, against its checkpoints, and name what is wrong first.

Promises: a row that was changed, put in, taken out or moved, and an end that was cut off behind a checkpoint,
is named by its number; memory does not grow with the trail.
Never: trusts a checkpoint that the key did not sign, and never writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.audit import checkpoint
from appliance.audit.chain import GENESIS, Row, follows
from appliance.audit.checkpoint import Checkpoint
from appliance.audit.limits import DEFAULT, Limits
from appliance.ledger import audit as rows
from appliance.ledger.engine import Ledger, Tx

_COLUMNS = ("seq", "event_id", "at", "body", "hash")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found: how many rows and checkpoints hold, and the first fault in a sentence.

    Attributes:
        row: the number of the first bad row; none when the trail holds or the fault is not a row's.
        unsigned: rows behind the newest checkpoint, which could be cut off unseen.
    """

    ok: bool
    rows: int
    checkpoints: int
    unsigned: int
    row: int | None = None
    fault: str = ""


class _Fault(Exception):
    def __init__(self, sentence: str, row: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.row = sentence, row


def verify(
    ledger: Ledger,
    key: Ed25519PublicKey,
    *,
    folder: Path,
    held: Sequence[Checkpoint] = (),
    limits: Limits = DEFAULT,
) -> Report:
    """Verify the whole trail.

    Args:
        ledger: the ledger that holds it.
        key: the public key of the box; better one that was kept elsewhere than the one beside the ledger.
        folder: where the checkpoints' files lie.
        held: checkpoints that were kept elsewhere (a repository, a printout): they must hold too.
        limits: bounds of the work.
    """
    checked = 0
    try:
        with ledger.read() as tx:
            signed = _signed(tx, key, folder, held)
            for row in _rows(tx, limits):
                _check(signed.get(row.seq, ()), row)
                checked = row.seq
        if cut := max((seq for seq in signed if seq > checked), default=0):
            missing = f"rows {checked + 1} to {cut} are missing: a checkpoint names row {cut}"
            raise _Fault(missing, checked + 1)
    except _Fault as fault:
        return Report(ok=False, rows=checked, checkpoints=0, unsigned=0, row=fault.row, fault=fault.sentence)
    return Report(ok=True, rows=checked, checkpoints=len(signed), unsigned=checked - max(signed, default=0))


def _rows(tx: Tx, limits: Limits) -> Iterator[Row]:
    """Yield every row after checking that it follows the one before."""
    seq, former = 0, GENESIS
    while part := rows.rows_after(tx, seq, limit=limits.verify_rows):
        for found in part:
            row = Row(**{name: getattr(found, name) for name in _COLUMNS})
            if row.seq != seq + 1:
                raise _Fault(f"rows {seq + 1} to {row.seq - 1} are missing", seq + 1)
            if not follows(row, former):
                raise _Fault(f"row {row.seq} is not what was written there", row.seq)
            yield row
            seq, former = row.seq, row.hash


def _check(signed: Sequence[Checkpoint], row: Row) -> None:
    for one in signed:
        if one.hash != row.hash:
            raise _Fault(f"row {row.seq} or one before it was replaced: a checkpoint differs", row.seq)


def _signed(
    tx: Tx, key: Ed25519PublicKey, folder: Path, held: Sequence[Checkpoint]
) -> Mapping[int, Sequence[Checkpoint]]:
    """Collect the checkpoints by row; each must be genuine, and none of the ledger's may lack its file."""
    named = [Checkpoint(**row._mapping) for row in rows.checkpoints(tx)]
    beside = list(_beside(folder))
    by_row: dict[int, list[Checkpoint]] = {}
    for one in [*named, *beside, *held]:
        if not checkpoint.is_genuine(one, key):
            raise _Fault(f"the checkpoint of row {one.seq} was not signed with this key")
        by_row.setdefault(one.seq, []).append(one)
    lost = {one.seq for one in named} - {one.seq for one in beside}
    if lost:
        raise _Fault(f"the file of the checkpoint of row {min(lost)} is missing")
    return by_row


def _beside(folder: Path) -> Iterator[Checkpoint]:
    for path in checkpoint.files(folder):
        try:
            yield checkpoint.parsed(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _Fault(f"the checkpoint file {path.name} cannot be read") from error
