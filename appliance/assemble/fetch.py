"""Fetch what somebody asked for: a study, or what of it is not here, from one peer.

Promises: every request ends, in a bounded number of tries; it ends well only when nothing of the study that
the peer names is absent here. Nothing is concluded from silence.
Never: talks to the network itself, or decides what a study is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.assemble.given_up import note_found
from appliance.assemble.turns import one_by_one
from appliance.core import log
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import short
from appliance.ledger import fetches
from appliance.ledger.engine import Ledger
from appliance.ledger.fetches import Fetch, FetchState
from dicom_node.find import FoundInstance
from dicom_node.move import Moved

_log = log.get("assemble")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What may be asked of one peer.

    Attributes:
        instances: Study Instance UID -> all its instances there; None where the peer did not answer.
        fetch: Study and Series Instance UIDs -> what became of having them sent here.
    """

    instances: Callable[[str], Sequence[FoundInstance] | None]
    fetch: Callable[[str, Sequence[str]], Moved]


class Fetcher:
    """Looks after the requests for one peer."""

    def __init__(self, ledger: Ledger, peer: str, source: Source, limits: Limits = DEFAULT) -> None:
        self._ledger, self._peer, self._source, self._limits = ledger, peer, source, limits

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Look after what is due, one study after the other; return how many were fetched from."""
        with self._ledger.read() as tx:
            due = fetches.due(tx, self._peer, at=self._ledger.clock.now())
        return one_by_one(due, self._look_after, stopping)

    def _look_after(self, row: Fetch) -> bool:
        """Ask what is there, and fetch what of it is not here; say whether something was fetched."""
        there = self._source.instances(row.study_uid)
        if there is None:
            self._again(row, "fetch.no_answer", absent=row.absent)
            return False
        if not there:
            self._end(row, FetchState.FAILED, "fetch.not_there", absent=None)
            return False
        note_found(self._ledger, self._peer, row.study_uid, there)
        with self._ledger.read() as tx:
            absent = fetches.not_held(tx, [one.sop_instance_uid for one in there])
        if not absent:
            self._end(row, FetchState.FETCHED, "fetch.whole" if row.tries else "fetch.was_here", absent=0)
            return False
        if row.tries >= self._limits.fetch_attempts_max:
            self._end(row, FetchState.FAILED, row.word or "fetch.incomplete", absent=len(absent))
            return False
        lacking = [one for one in there if one.sop_instance_uid in absent]
        moved = self._source.fetch(row.study_uid, sorted({one.series_uid for one in lacking}))
        self._again(row, moved.word, absent=len(absent), soon=moved.whole)
        return True

    def _again(self, row: Fetch, word: str, *, absent: int | None, soon: bool = False) -> None:
        """Look again: soon after a fetch that brought everything by the peer's account, else later."""
        limits = self._limits
        if not soon and row.tries + 1 >= limits.fetch_attempts_max:
            self._end(row, FetchState.FAILED, word, absent=absent)
            return
        wait = limits.fetch_check_seconds if soon else limits.fetch_again_seconds * (row.tries + 1)
        due_at = self._ledger.clock.now() + wait
        with self._ledger.write() as tx:
            fetches.tried(tx, row, word=word, absent=absent, due_at=due_at)
        _log.info("fetch.tried", peer=self._peer, study=short(row.study_uid), word=word, absent=absent)

    def _end(self, row: Fetch, state: FetchState, word: str, *, absent: int | None) -> None:
        with self._ledger.write() as tx:
            fetches.end(tx, row, state, word=word, absent=absent, at=self._ledger.clock.now())
        say = _log.info if state is FetchState.FETCHED else _log.warning
        say(f"fetch.{state.lower()}", peer=self._peer, study=short(row.study_uid), word=word, absent=absent)
