"""What peers say belongs to a study: recorded once, changed while it may be, counted beside what came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from appliance.core.words import StudyState
from appliance.ledger import announced, events, notices, studies
from appliance.ledger.announced import Announced
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.notices import NoticeKind, NoticeState, Room, Taken
from appliance.ledger.tables import announced as rows
from appliance.ledger.tables import objects
from tests.appliance.ledger import given
from tests.appliance.ledger.given import NOW, SERIES, STUDY

CT = "1.2.840.10008.5.1.4.1.1.2"
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
_STUDIES = itertools.count(100)
ROOM = Room(notices_max=20, instances_max=1_000)
UID = "2.25.7"


def images(*numbers: int, series: str = SERIES) -> list[notices.Named]:
    return [notices.Named(series, CT, f"{series}.{number}") for number in numbers]


def available(tx: Tx, named: Sequence[notices.Named], uid: str = UID, **changes: Any) -> Taken:
    values: dict[str, Any] = {"peer": "pacs", "study_uids": [STUDY], "at": NOW, "room": ROOM} | changes
    peer, study_uids = values.pop("peer"), values.pop("study_uids")
    return notices.take(tx, peer, NoticeKind.AVAILABILITY, uid, study_uids, named, **values)


def begun(tx: Tx, uid: str = UID, **changes: Any) -> Taken:
    values: dict[str, Any] = {
        "peer": "ct",
        "study_uids": [STUDY],
        "named": [],
        "at": NOW,
        "room": ROOM,
    } | changes
    peer, study_uids, named = values.pop("peer"), values.pop("study_uids"), values.pop("named")
    return notices.take(tx, peer, NoticeKind.STEP, uid, study_uids, named, **values)


def ended(tx: Tx, named: Sequence[notices.Named] | None, uid: str = UID, **changes: Any) -> Taken:
    values: dict[str, Any] = {
        "peer": "ct",
        "state": NoticeState.COMPLETED,
        "reason": "",
        "at": NOW,
        "room": ROOM,
    }
    values |= changes
    return notices.change(tx, values.pop("peer"), uid, named=named, **values)


def words(tx: Tx) -> list[str]:
    return [event.word for event in events.of_study(tx, STUDY) if event.word.startswith("notice.")]


def test_a_notification_stands_beside_what_came(ledger: Ledger) -> None:
    private = "1.3.12.2.1107.5.9.1"
    others = [
        notices.Named(SERIES, DOSE, "2.25.98"),
        notices.Named(SERIES, private, "2.25.99", is_image=False),
    ]
    with ledger.write() as tx:
        assert announced.about(tx, STUDY) == Announced()
        assert available(tx, [*images(1, 2, 3), *others]) is Taken.NEW
        assert announced.about(tx, STUDY) == Announced(instances=3, absent=3)
        given.kept(tx, 1, 2)
        found = announced.about(tx, STUDY)
        assert found == Announced(instances=3, absent=1)
        assert found.says_more
        given.kept(tx, 3)
        found = announced.about(tx, STUDY)
        assert found == Announced(instances=3)
        assert found.says_complete
        (row,) = notices.of_study(tx, STUDY)
        assert (row.kind, row.state, row.series, row.instances) == ("IAN", "AVAILABLE", 1, 5)
        assert words(tx) == ["notice.available"]


def test_what_nobody_named_keeps_a_study_from_being_complete_by_its_notices(ledger: Ledger) -> None:
    with ledger.write() as tx:
        available(tx, images(1))
        given.kept(tx, 1, 2)
        found = announced.about(tx, STUDY)
        assert found == Announced(instances=1, beyond=1)
        assert not found.says_complete
        assert not found.says_more
        available(tx, images(1, 2), uid="2.25.8")
        assert announced.about(tx, STUDY) == Announced(instances=2)


def test_the_same_notice_again_changes_nothing(ledger: Ledger) -> None:
    with ledger.write() as tx:
        available(tx, images(1, 2))
        before = notices.of_study(tx, STUDY)
    with ledger.write() as tx:
        assert available(tx, images(1, 2, 3)) is Taken.DUPLICATE
        assert begun(tx, peer="pacs") is Taken.DUPLICATE
        assert notices.of_study(tx, STUDY) == before
        assert announced.about(tx, STUDY) == Announced(instances=2, absent=2)
        assert words(tx) == ["notice.available"]
        assert available(tx, images(4), peer="other") is Taken.NEW, "another's UID is another's"


def test_a_step_is_changed_until_it_has_ended(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert ended(tx, images(1)) is Taken.UNKNOWN
        assert begun(tx) is Taken.NEW
        assert ended(tx, images(1), peer="other") is Taken.UNKNOWN
        assert announced.about(tx, STUDY) == Announced(in_progress=1)
        assert ended(tx, images(1), state=None) is Taken.NEW
        assert ended(tx, images(1, 2), state=NoticeState.IN_PROGRESS) is Taken.NEW
        assert announced.about(tx, STUDY) == Announced(instances=2, absent=2, in_progress=1)
        assert ended(tx, None, at=NOW + 5) is Taken.NEW
        assert announced.about(tx, STUDY) == Announced(instances=2, absent=2)
        for state in (None, *NoticeState):
            assert ended(tx, images(9), state=state) is Taken.ENDED
        (row,) = notices.of_study(tx, STUDY)
        assert (row.state, row.instances, row.at, row.changed_at) == ("COMPLETED", 2, NOW, NOW + 5)
        assert words(tx) == ["notice.in_progress", "notice.completed"]
        available(tx, images(1), uid="2.25.8", peer="ct")
        assert ended(tx, images(1), uid="2.25.8") is Taken.UNKNOWN, "a notification is no step"


def test_a_discontinued_step_awaits_nothing_and_completes_nothing(ledger: Ledger) -> None:
    with ledger.write() as tx:
        begun(tx)
        ended(tx, images(1, 2), state=NoticeState.DISCONTINUED, reason="110500")
        given.kept(tx, 1)
        found = announced.about(tx, STUDY)
        assert found == Announced(instances=2, discontinued=1)
        assert not found.says_more
        assert not found.says_complete
        assert announced.discontinued(tx, STUDY)
        assert words(tx)[-1] == "notice.discontinued"


def test_a_wrong_worklist_entry_stands_until_a_person_has_looked(ledger: Ledger) -> None:
    with ledger.write() as tx:
        begun(tx)
        ended(tx, images(1), state=NoticeState.DISCONTINUED, reason=notices.WRONG_ENTRY)
        given.kept(tx, 1)
        found = announced.about(tx, STUDY)
        assert found.wrong_entry
        assert words(tx)[-1] == "notice.wrong_entry"
        assert studies.hold(tx, given.study(tx), reason="wrong", at=NOW + 1)
        studies.release(tx, STUDY, at=NOW + 2)
        found = announced.about(tx, STUDY)
        assert not found.wrong_entry


def test_a_step_of_two_studies_is_whole_when_all_of_it_is_here(ledger: Ledger) -> None:
    other, series = "1.2.4", "1.2.4.1"
    with ledger.write() as tx:
        begun(tx, study_uids=[STUDY, other])
        ended(tx, [*images(1), *images(1, series=series)])
        given.kept(tx, 1)
        assert announced.about(tx, STUDY) == Announced(instances=2, absent=1)
        given.kept(tx, 1, study=other, series=series)
        assert announced.about(tx, STUDY) == announced.about(tx, other) == Announced(instances=2)


def test_results_of_the_box_that_a_pacs_announces_are_not_waited_for(ledger: Ledger) -> None:
    given.ended(ledger)
    with ledger.write() as tx:
        made = tx.execute(
            sa.select(objects.c.series_uid, objects.c.sop_class_uid, objects.c.sop_instance_uid)
        )
        own = [notices.Named(*row) for row in made]
        assert own
        available(tx, [*images(1, 2, 3), *own])
        found = announced.about(tx, STUDY)
        assert (found.absent, found.beyond) == (0, 0)


def test_a_peer_has_room_for_so_much(ledger: Ledger) -> None:
    with ledger.write() as tx:
        assert available(tx, images(*range(1_001))) is Taken.TOO_MANY
        for number in range(20):
            assert available(tx, images(1), uid=f"2.25.{number}") is Taken.NEW
        assert available(tx, images(1), uid="2.25.20") is Taken.TOO_MANY
        assert available(tx, images(1), uid="2.25.20", peer="other") is Taken.NEW
        begun(tx)
        assert ended(tx, images(*range(1_001))) is Taken.TOO_MANY
        assert ended(tx, images(*range(900))) is Taken.NEW


def test_old_notices_expire_and_those_without_a_study_are_told_of(ledger: Ledger) -> None:
    with ledger.write() as tx:
        available(tx, images(1, 2))
        available(tx, images(1), uid="2.25.8", study_uids=["1.2.9"])
        assert announced.standing(tx).unmatched == 2
        given.kept(tx, 1)
        assert announced.standing(tx) == announced.Standing(
            incomplete=1, absent=1, in_progress=0, unmatched=1
        )
        later: dict[str, Any] = {"before": NOW, "at": NOW + 9, "limit": 10}
        assert notices.expire(tx, **later) == 1, "a study that gathers keeps its own"
        assert [event.study_uid for event in events.latest(tx, 9, word="notice.expired")] == ["1.2.9"]
        given.ready(tx)
        assert notices.expire(tx, before=NOW - 1, at=NOW, limit=10) == 0
        assert notices.expire(tx, **later) == 1
        assert notices.expire(tx, **later) == 0
        assert announced.about(tx, STUDY) == Announced()
        assert tx.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one() == 0
        assert [one.instances for one in notices.of_study(tx, STUDY)] == [2], "its row tells what it was"
        assert announced.standing(tx) == announced.Standing(
            incomplete=0, absent=0, in_progress=0, unmatched=0
        )
        assert available(tx, images(1)) is Taken.DUPLICATE


def test_a_step_that_ends_after_days_is_heard(ledger: Ledger) -> None:
    with ledger.write() as tx:
        begun(tx)
        assert notices.expire(tx, before=NOW, at=NOW + 9, limit=10) == 1
        assert announced.about(tx, STUDY) == Announced()
        assert ended(tx, images(1), at=NOW + 99) is Taken.NEW
        assert announced.about(tx, STUDY) == Announced(instances=1, absent=1)


def test_what_never_came_is_compared_once(ledger: Ledger) -> None:
    with ledger.write() as tx:
        available(tx, images(1, 2))
        begun(tx, uid="2.25.8", peer="pacs")
        available(tx, images(1), uid="2.25.9", at=NOW + 50)
        given.kept(tx, 1)
        (lacking,) = announced.to_compare(tx, "pacs", before=NOW + 10, limit=5)
        assert (lacking.study_uid, lacking.absent) == (STUDY, 1)
        assert announced.to_compare(tx, "other", before=NOW + 10, limit=5) == []
        announced.compared(tx, [lacking.notice_id], at=NOW + 10)
        assert announced.to_compare(tx, "pacs", before=NOW + 10, limit=5) == []
        ended(tx, images(3), uid="2.25.8", peer="pacs", at=NOW + 20)
        (lacking,) = announced.to_compare(tx, "pacs", before=NOW + 20, limit=5)
        assert lacking.absent == 1


def test_a_notice_opens_no_study_again(ledger: Ledger) -> None:
    with ledger.write() as tx:
        given.kept(tx, 1)
        given.decided(tx)
        available(tx, images(1, 2, 3), at=NOW + 9)
        assert given.study(tx).state is StudyState.DECIDED
        assert announced.about(tx, STUDY) == Announced(instances=3, absent=2)
        assert events.of_study(tx, STUDY)[-1].detail == {"peer": "pacs", "instances": 3}


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(st.data())
def test_the_order_of_images_and_notices_does_not_matter(ledger: Ledger, data: st.DataObject) -> None:
    some = st.sets(st.integers(1, 6))
    named, made, came = data.draw(some), data.draw(some), data.draw(some)
    number = next(_STUDIES)
    study, series, step = f"1.2.3.{number}", f"1.2.3.{number}.1", f"2.25.{number}.2"
    room = Room(notices_max=10_000, instances_max=100_000)

    def notify(tx: Tx) -> None:
        values: dict[str, Any] = {"uid": f"2.25.{number}.1", "study_uids": [study], "room": room}
        available(tx, images(*sorted(named), series=series), **values)

    def perform(tx: Tx) -> None:
        begun(tx, uid=step, study_uids=[study], room=room)
        ended(tx, images(*sorted(made), series=series), uid=step, room=room)

    acts: list[Callable[[Tx], None]] = [notify, perform]
    for one in sorted(came):
        acts.append(lambda tx, one=one: given.kept(tx, one, study=study, series=series))  # type: ignore[misc]
    with ledger.write() as tx:
        for act in data.draw(st.permutations(acts)):
            act(tx)
        found = announced.about(tx, study)
    whole = named | made
    assert found == Announced(instances=len(whole), absent=len(whole - came), beyond=len(came - whole))
    assert found.says_complete == (bool(whole) and whole == came)
