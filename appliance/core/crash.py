"""Named places where a test may kill the process, to see that nothing was promised too early.

Promises: costs one comparison where no test asks for it; every name that is used stands in `POINTS`,
`COMMITMENT_POINTS`, `SHADOW_POINTS`, `PRIOR_POINTS`, `NOTICE_POINTS` or `WORKLIST_POINTS`.
Never: does anything in a box that serves, where the variable is not set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

VARIABLE: Final = "READSIDE_CRASH_AT"

# Each service, and the places where it may be killed in mid-act.
POINTS: Final[Mapping[str, Sequence[str]]] = {
    "listener": (
        "keep-unwritten",  # every byte came, none is on disk
        "kept-record",  # bytes and record are on disk, the sender has no answer
        "rows-unwritten",  # the sender has its answer, the ledger knows nothing
        "rows-open",  # the ledger's transaction is open
        "rows-committed",  # the rows stand, copies that are too many lie there still
        "released-marked",  # such a copy is marked as gone, its bytes lie there still
        "seal-unwritten",  # a segment is cut and has no seal
    ),
    "conductor": (
        "study-ready",  # a study is complete, nobody decided
        "study-decided",  # jobs stand, no bell rang
        "purged-rows",  # the rows say purged, the bytes lie there still
    ),
    "worker": (
        "job-leased",  # nothing was done of what was taken
        "frozen-one",  # some objects of a result are on disk
        "frozen-unrecorded",  # all of them are, and no row names them
        "result-recorded",  # the result stands, no bell rang
    ),
    "courier": (
        "courier-taken",  # the rows say that it is being sent
        "courier-answered",  # the peer has it, the ledger does not know
        "courier-settled",  # it is settled, others of its batch are not
    ),
    "audit": (
        "audit-open",  # the trail's transaction is open
        "audit-signed",  # a checkpoint's file stands, its row does not
    ),
}

# The same of a box that asks peers for storage commitment, or promises it; no other passes them.
COMMITMENT_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "courier": (
        "commitment-due",  # objects are accepted, nobody was asked about them
        "commitment-asked",  # the request is a row, the peer knows nothing
        "commitment-answered",  # the peer took the request, the row does not say so
    ),
    "listener": (
        "promise-kept",  # the request is a row, the peer has no answer
        "promise-told",  # the peer has its report, the row does not say so
    ),
}

# The same of a box on which a new version runs beside the one that serves.
SHADOW_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "worker": (
        "shadow-kept",  # the old answer is on disk, no row names it
        "shadow-leased",  # nothing was done of what was taken
        "shadow-unrecorded",  # both answers were compared, and no row says so
        "shadow-recorded",  # the agreement stands, the old answer lies there still
    ),
}

# The same of a box whose peers say what belongs to a study.
NOTICE_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "listener": ("notice-kept",),  # the notice is a row, the peer has no answer
}

# The same of a box that performs workitems of a worklist.
WORKLIST_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "conductor": (
        "worklist-wanted",  # a row says that it is wanted, the origin server was not asked
        "worklist-claimed",  # it is ours there, the row does not say so
        "worklist-asked-for",  # what it names is asked for
        "worklist-settled",  # how it ends is a row, the origin server knows nothing
        "worklist-updated",  # it knows what came of it, and that it is still in progress
        "worklist-ended",  # it has ended there, the row does not say so
    ),
}


# The same of a box with a route that asks for earlier studies.
PRIOR_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "conductor": (
        "priors-found",  # peers answered, no row says so
        "priors-chosen",  # the rows stand, nothing was fetched
        "priors-ended",  # what came stands, no bell rang
    ),
}


class _Point:
    """Where to die, and after how many times of passing by."""

    def __init__(self, text: str) -> None:
        self.name, _, times = text.partition(":")
        self.left = int(times or "1")


_point = _Point(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def arm(text: str) -> None:
    """Take `text` as if it stood in the variable: for a process that was forked with this module loaded."""
    global _point
    _point = _Point(text) if text else None


def crash_here(name: str) -> None:
    """Die as by SIGKILL if `READSIDE_CRASH_AT` is this name, or `name:3` and this is the third time."""
    if _point is None or _point.name != name:
        return
    _point.left -= 1
    if _point.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
