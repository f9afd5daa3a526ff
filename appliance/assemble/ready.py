"""When is a study complete? Pure: rows and a time in, a reason or nothing out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.core.config import Assembly
from appliance.ledger.announced import Announced
from appliance.ledger.studies import Series, Study

# What is said of a study that may be less than what was asked for.
DISCONTINUED = "the modality discontinued a procedure step of it"
_NOTHING_SAID = Announced()


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """A study that still gathers: its rows, how many instances of it are kept, and who could send more.

    Attributes:
        listening_since: since when the listener answers, in epoch seconds. Silence before that proves
            nothing: a sender that was cut off by a restart or a power cut is still trying.
        announced: how it stands beside what peers said belongs to it.
    """

    study: Study
    series: Sequence[Series]
    kept: int
    listening_since: float = -math.inf
    announced: Announced = _NOTHING_SAID

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

    Complete by count or as announced comes first, then the deadline, then the quiet time of the study and of
    all its series. A peer that says there is more to come outweighs all of them but the deadline.
    """
    study, more = gathering.study, _is_more_to_come(gathering)
    if not more and _count_says_complete(gathering, assembly):
        have = f"{assembly.confirm_with} has {study.asked_count} instances, so has this box"
        return f"complete by count: {have}{_discontinued(gathering)}"
    if not more and gathering.announced.says_complete:
        return f"announced: all {gathering.announced.instances} images that were named are here"
    if now >= study.gathering_since + assembly.deadline_seconds:
        passed = f"the deadline of {assembly.deadline_seconds:g} s passed"
        return f"{passed}{_missing(gathering)}{_discontinued(gathering)}"
    if more:
        return None
    quiet = now >= gathering.quiet_at(assembly)
    if quiet and all(now >= gathering.series_quiet_at(s, assembly) for s in gathering.series):
        return f"nothing arrived for {assembly.quiet_seconds:g} s{_discontinued(gathering)}"
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


def _is_more_to_come(gathering: Gathering) -> bool:
    return _count_says_more(gathering) or gathering.announced.says_more


def _count_says_more(gathering: Gathering) -> bool:
    return gathering.study.asked_count is not None and gathering.kept < gathering.study.asked_count


def _missing(gathering: Gathering) -> str:
    said, found = gathering.announced, ""
    if _count_says_more(gathering):
        found += f"; {gathering.kept} of {gathering.study.asked_count} instances are here"
    if said.absent:
        found += f"; {said.absent} of {said.instances} images that were announced never came"
    return f"{found}; a procedure step is still in progress" if said.in_progress else found


def _discontinued(gathering: Gathering) -> str:
    return f"; {DISCONTINUED}" if gathering.announced.discontinued else ""
