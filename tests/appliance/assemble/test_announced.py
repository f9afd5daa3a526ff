"""What peers say belongs to a study decides when it is complete, whatever comes first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.assemble import decide
from appliance.assemble.decide import Decider
from appliance.assemble.gather import WRONG_ENTRY
from appliance.core.clock import HeldClock
from appliance.core.words import StudyState
from appliance.ledger import decisions, notices, studies
from appliance.ledger.engine import Ledger
from appliance.ledger.notices import NoticeKind, NoticeState, Room, Taken
from tests.appliance.assemble.test_assemble import ASSEMBLY, CONFIRMED, STUDY, Bench, route, table
from tests.appliance.making import CT

LONG = ASSEMBLY.model_copy(
    update={"quiet_seconds": 600.0, "series_quiet_seconds": 600.0, "deadline_seconds": 3600.0}
)
ROOM = Room(notices_max=1_000, instances_max=10_000)
_UIDS = itertools.count(1)


class Hall(Bench):
    """A bench on which peers say what belongs to the study."""

    study_uid = STUDY

    def image(self, number: int) -> None:
        uids = {"StudyInstanceUID": self.study_uid, "SeriesInstanceUID": f"{self.study_uid}.1"}
        self.arrive(SOPInstanceUID=f"{self.study_uid}.1.{number}", **uids)

    def study(self) -> studies.Study:
        with self.ledger.read() as tx:
            found = studies.find(tx, self.study_uid)
        assert found is not None
        return found

    def complete(self) -> bool:
        """Whether it is, after a turn."""
        self.gatherer.turn()
        with self.ledger.read() as tx:
            found = studies.find(tx, self.study_uid)
        return found is not None and found.state is not StudyState.GATHERING

    def notify(self, *numbers: int) -> None:
        self._take("pacs", NoticeKind.AVAILABILITY, numbers)

    def begin(self) -> str:
        return self._take("ct", NoticeKind.STEP, ())

    def end(
        self, uid: str, *numbers: int, state: NoticeState = NoticeState.COMPLETED, reason: str = ""
    ) -> None:
        named, at = self._named(numbers), self.clock.now()
        with self.ledger.write() as tx:
            changed = notices.change(tx, "ct", uid, state=state, named=named, reason=reason, at=at, room=ROOM)
        assert changed is Taken.NEW

    def _take(self, peer: str, kind: NoticeKind, numbers: Sequence[int]) -> str:
        uid = f"2.25.{next(_UIDS)}"
        with self.ledger.write() as tx:
            named, at = self._named(numbers), self.clock.now()
            assert notices.take(tx, peer, kind, uid, [self.study_uid], named, at=at, room=ROOM) is Taken.NEW
        return uid

    def _named(self, numbers: Sequence[int]) -> list[notices.Named]:
        series = f"{self.study_uid}.1"
        return [notices.Named(series, CT, f"{series}.{number}") for number in numbers]

    def waits(self) -> bool:
        return self.gatherer.turn() == 0 and self.study().state is StudyState.GATHERING

    def reason(self) -> str:
        """Why it is complete now; a turn must make it so."""
        assert self.gatherer.turn() == 1
        reason = self.study().reason
        assert reason is not None
        return reason


@pytest.fixture
def hall(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Hall:
    return Hall(ledger, tmp_path / "root", clock, LONG)


def test_a_study_whose_announced_images_are_here_waits_for_nothing(hall: Hall) -> None:
    hall.notify(1, 2)
    hall.image(1)
    assert hall.waits()
    hall.image(2)
    assert hall.reason() == "announced: all 2 images that were named are here"


def test_a_notice_after_the_images_completes_them_at_once(hall: Hall) -> None:
    hall.image(1)
    hall.image(2)
    assert hall.waits()
    hall.notify(1, 2)
    assert hall.reason().startswith("announced")


def test_a_step_that_is_performed_outweighs_silence_and_a_count(hall: Hall) -> None:
    uid = hall.begin()
    hall.image(1)
    hall.clock.advance(1_000)
    assert hall.waits()
    hall.gatherer._assembly = CONFIRMED.model_copy(update={"deadline_seconds": 3600.0})
    with hall.ledger.write() as tx:
        studies.asked(tx, STUDY, count=1, kept=1, at=hall.clock.now())
    assert hall.waits()
    hall.end(uid, 1)
    assert "complete" in hall.reason()


def test_what_never_comes_is_waited_for_until_the_deadline(hall: Hall) -> None:
    hall.notify(1, 2, 3)
    hall.begin()
    hall.image(1)
    hall.clock.advance(3_599)
    assert hall.waits()
    hall.clock.advance(1)
    assert hall.reason() == (
        "the deadline of 3600 s passed; 2 of 3 images that were announced never came;"
        " a procedure step is still in progress"
    )


def test_a_notice_of_a_part_hurries_nothing(hall: Hall) -> None:
    hall.notify(1)
    hall.image(1)
    hall.image(2)
    assert hall.waits()
    hall.clock.advance(600)
    assert hall.reason() == "nothing arrived for 600 s"


def test_a_peer_that_counts_more_outweighs_a_notice(hall: Hall) -> None:
    hall.gatherer._assembly = LONG.model_copy(update={"confirm_with": "pacs"})
    hall.notify(1)
    hall.image(1)
    with hall.ledger.write() as tx:
        studies.asked(tx, STUDY, count=2, kept=1, at=hall.clock.now())
    assert hall.waits()
    hall.clock.advance(3_600)
    assert hall.reason().startswith("the deadline")


def test_a_discontinued_step_is_never_silently_a_full_study(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "check_geometry", lambda _manifest, _facts: [])
    uid = hall.begin()
    hall.image(1)
    hall.end(uid, 1, 2, state=NoticeState.DISCONTINUED, reason="110500")
    assert hall.waits(), "what was discontinued completes nothing"
    hall.clock.advance(600)
    said = "the modality discontinued a procedure step of it"
    assert hall.reason() == f"nothing arrived for 600 s; {said}"
    Decider(hall.ledger, table([route("all", "slices >= 1")])).turn()
    with hall.ledger.read() as tx:
        (decision,) = decisions.of_study(tx, STUDY)
    assert decision.reason.endswith(said)


def test_the_wrong_worklist_entry_holds_a_study_until_a_person_looked(hall: Hall) -> None:
    uid = hall.begin()
    hall.image(1)
    hall.end(uid, 1, state=NoticeState.DISCONTINUED, reason="110514")
    hall.clock.advance(600)
    assert hall.gatherer.turn() == 0
    assert (hall.study().state, hall.study().reason) == (StudyState.HELD, WRONG_ENTRY)
    hall.clock.advance(10)
    with hall.ledger.write() as tx:
        assert studies.release(tx, STUDY, at=hall.clock.now())
    assert hall.reason().startswith("nothing arrived")


def test_a_later_notice_opens_nothing_again_and_is_seen(hall: Hall) -> None:
    hall.notify(1)
    hall.image(1)
    assert hall.reason().startswith("announced")
    hall.notify(1, 2)
    hall.gatherer.turn()
    assert hall.study().state is StudyState.READY
    assert hall.words()[-1] == "notice.available"
    hall.image(2)
    assert hall.reason() == "announced: all 2 images that were named are here"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_study_is_complete_with_the_last_of_all_and_not_before(hall: Hall, data: st.DataObject) -> None:
    hall.study_uid = f"1.2.3.0.1.{next(_UIDS)}"
    step: list[str] = []
    acts: dict[str, Callable[[], object]] = {
        "notify": lambda: hall.notify(1, 2, 3),
        "begin": lambda: step.append(hall.begin()),
        "end": lambda: hall.end(step[0], 1, 2, 3),
    }
    acts |= {str(number): partial(hall.image, number) for number in (1, 2, 3)}
    ways = st.permutations(list(acts)).filter(lambda names: names.index("begin") < names.index("end"))
    done: set[str] = set()
    for name in data.draw(ways):
        acts[name]()
        done.add(name)
        performing = "begin" in done and "end" not in done
        whole = {"1", "2", "3"} <= done and bool({"notify", "end"} & done) and not performing
        assert hall.complete() == whole, (name, sorted(done))
        if whole:
            assert hall.study().reason == "announced: all 3 images that were named are here"
            return
    raise AssertionError("everything came, and the study gathers still")
