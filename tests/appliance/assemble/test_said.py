"""A study is compared with its notices when that may tell something new, not each time it is looked at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from appliance.assemble.said import Said
from appliance.ledger import announced, notices, studies
from appliance.ledger.announced import Announced
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.notices import NoticeKind, Room
from tests.appliance.ledger import given
from tests.appliance.ledger.given import SERIES, STUDY

CT = "1.2.840.10008.5.1.4.1.1.2"
_STUDIES = itertools.count(100)
ROOM = Room(notices_max=1_000, instances_max=100_000)


class Looks:
    """Asks as the gatherer does, and counts how often the ledger was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said, self.asked, self._real = Said(), 0, announced.about
        monkeypatch.setattr(announced, "about", self._about)

    def _about(self, tx: Tx, study_uid: str) -> Announced:
        self.asked += 1
        return self._real(tx, study_uid)

    def look(
        self, tx: Tx, kept: int, *, at: float = 0.0, anew: bool = False, study: str = STUDY
    ) -> Announced:
        return self.said.about(tx, study, kept=kept, at=at, anew=anew)

    def truth(self, tx: Tx, study: str) -> Announced:
        return self._real(tx, study)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def announce(tx: Tx, uid: str, *numbers: int, study: str = STUDY, series: str = SERIES) -> None:
    named = [notices.Named(series, CT, f"{series}.{number}") for number in numbers]
    notices.take(tx, "pacs", NoticeKind.AVAILABILITY, uid, [study], named, at=given.NOW, room=ROOM)


def test_it_is_asked_only_when_all_may_be_here_or_something_new_was_said(
    ledger: Ledger, looks: Looks
) -> None:
    with ledger.write() as tx:
        assert looks.look(tx, 0) == Announced()
        assert looks.asked == 0, "nothing was said"
        announce(tx, "2.25.1", *range(10))
        for number in range(9):
            given.kept(tx, number)
            assert looks.look(tx, number + 1).says_more
        assert looks.asked == 1
        given.kept(tx, 9)
        assert looks.look(tx, 10).says_complete
        assert looks.look(tx, 10).says_complete
        assert looks.asked == 2
        announce(tx, "2.25.2", 10, 11)
        assert looks.look(tx, 10).absent == 2
        assert looks.asked == 3


def test_it_is_asked_again_after_a_moment_when_it_must_be_right_and_after_it_was_forgotten(
    ledger: Ledger, looks: Looks
) -> None:
    with ledger.write() as tx:
        announce(tx, "2.25.1", 1, 2, 3)
        looks.look(tx, 0)
        given.kept(tx, 1)
        assert looks.look(tx, 1).absent == 3, "what may be told later"
        assert looks.look(tx, 1, anew=True).absent == 2
        assert looks.look(tx, 1, at=4.9).absent == 2
        assert looks.asked == 2
        looks.look(tx, 1, at=5.0)
        looks.said.keep_only([])
        looks.look(tx, 1, at=5.0)
        assert looks.asked == 4
        looks.look(tx, 1, at=1.0)
        assert looks.asked == 5, "a clock that was set back makes nothing old new"


def test_whether_a_person_has_looked_is_asked_each_time(ledger: Ledger, looks: Looks) -> None:
    with ledger.write() as tx:
        notices.take(tx, "ct", NoticeKind.STEP, "2.25.1", [STUDY], [], at=given.NOW, room=ROOM)
        state = notices.NoticeState.DISCONTINUED
        notices.change(tx, "ct", "2.25.1", state=state, named=[], reason="110514", at=given.NOW, room=ROOM)
        assert looks.look(tx, 1).wrong_entry
        assert looks.look(tx, 1).wrong_entry
    assert looks.asked == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(st.data())
def test_it_judges_as_the_ledger_would(ledger: Ledger, looks: Looks, data: st.DataObject) -> None:
    """In whatever order all comes, a study is whole, or has more to come, exactly when the rows say so."""
    study = f"1.2.3.{next(_STUDIES)}"
    series, numbers = f"{study}.1", st.integers(1, 5)
    acts: list[Callable[[Tx], None]] = []
    for at, named in enumerate(data.draw(st.lists(st.sets(numbers, min_size=1), max_size=2))):
        acts.append(partial(_announce, f"{study}.9.{at}", sorted(named), study, series))
    for one in data.draw(st.lists(numbers, max_size=7)):
        acts.append(partial(_arrive, one, study, series))
    with ledger.write() as tx:
        for act in data.draw(st.permutations(acts)):
            act(tx)
            truth = looks.truth(tx, study)
            found = looks.look(tx, studies.count_of(tx, study), study=study)
            assert (found.says_complete, found.says_more) == (truth.says_complete, truth.says_more)


def _announce(uid: str, numbers: Sequence[int], study: str, series: str, tx: Tx) -> None:
    announce(tx, uid, *numbers, study=study, series=series)


def _arrive(number: int, study: str, series: str, tx: Tx) -> None:
    given.kept(tx, number, study=study, series=series)
