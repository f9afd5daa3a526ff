"""When is a study complete? Pure: rows and a time in, a reason or nothing out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.core.config import Assembly
from appliance.ledger.studies import Series, Study


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """A study that still gathers: its rows, how many instances of it are kept, and who could send more.

    Attributes:
        listening_since: since when the listener answers, in epoch seconds. Silence before that proves
            nothing: a sender that was cut off by a restart or a power cut is still trying.
    """

    study: Study
    series: Sequence[Series]
    kept: int
    listening_since: float = -math.inf

    def quiet_at(self, assembly: Assembly) -> float:
        """Return when the study falls quiet if nothing more arrives."""
        return max(self.study.last_at, self.listening_since) + assembly.quiet_seconds

    def series_quiet_at(self, series: Series, assembly: Assembly) -> float:
        """Return when one of its series falls quiet if nothing more arrives for it."""
        return max(series.last_at, self.listening_since) + assembly.series_quiet_seconds


def quiet_series(gathering: Gathering, assembly: Assembly, now: float) -> list[Series]:
    """Return the series that fell quiet and were not measured yet."""
    return [
        s for s in gathering.series if s.complete_at is None and now >= gathering.series_quiet_at(s, assembly)
    ]


def judge(gathering: Gathering, assembly: Assembly, now: float) -> str | None:
    """Say why a study is complete now, or nothing if it is not.

    Complete by count comes first, then the deadline, then the quiet time of the study and of all its series.
    A peer that says there is more to come outweighs the quiet time, but not the deadline.
    """
    study = gathering.study
    if _count_says_complete(gathering, assembly):
        return (
            f"complete by count: {assembly.confirm_with} has {study.asked_count} instances, so has this box"
        )
    if now >= study.gathering_since + assembly.deadline_seconds:
        return f"the deadline of {assembly.deadline_seconds:g} s passed{_missing(gathering)}"
    if _count_says_more(gathering):
        return None
    quiet = now >= gathering.quiet_at(assembly)
    if quiet and all(now >= gathering.series_quiet_at(s, assembly) for s in gathering.series):
        return f"nothing arrived for {assembly.quiet_seconds:g} s"
    return None


def next_due(gathering: Gathering, assembly: Assembly, now: float) -> float:
    """Return the earliest moment after `now`, in epoch seconds, at which a study may have something to do.

    What is due already was done, or waits for something else: an answer, an arrival, the deadline.
    """
    dues = [gathering.quiet_at(assembly), gathering.study.gathering_since + assembly.deadline_seconds]
    dues += [gathering.series_quiet_at(s, assembly) for s in gathering.series if s.complete_at is None]
    return min((due for due in dues if due > now), default=math.inf)


def next_ask(study: Study, assembly: Assembly) -> float:
    """Return when the confirming peer should be asked for its count, in epoch seconds; it may be past."""
    settled = study.last_at + assembly.confirm_settle_seconds
    if study.asked_at is None or study.asked_at < settled:
        return settled
    return study.asked_at + assembly.confirm_every_seconds


def _count_says_complete(gathering: Gathering, assembly: Assembly) -> bool:
    """One equal count is believed only after a pause: a peer that forwards as it receives is always equal."""
    study = gathering.study
    if study.asked_at is None or not study.asked_count:
        return False
    after_pause = study.asked_at >= study.last_at + assembly.confirm_settle_seconds
    return after_pause and gathering.kept >= study.asked_count


def _count_says_more(gathering: Gathering) -> bool:
    return gathering.study.asked_count is not None and gathering.kept < gathering.study.asked_count


def _missing(gathering: Gathering) -> str:
    if not _count_says_more(gathering):
        return ""
    return f"; {gathering.kept} of {gathering.study.asked_count} instances are here"
