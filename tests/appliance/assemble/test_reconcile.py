"""What a PACS has and the box has not: found, left alone a while, fetched, and not fetched at once again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from appliance.assemble import given_up
from appliance.assemble.reconcile import Archive, Reconciler
from appliance.core.config import Reconcile
from appliance.core.limits import DEFAULT
from appliance.ledger import counts, deliveries, events, missing, notices, results
from appliance.ledger.missing import MissedState
from dicom_node.find import FoundInstance, FoundStudy
from dicom_node.move import Moved
from tests.appliance.ledger import given

CT, SR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"
GRACE_SECONDS = 15 * 60.0


def image(number, *, sop_class=CT, modality="CT"):
    return FoundInstance(
        series_uid=given.SERIES,
        modality=modality,
        sop_instance_uid=f"{given.SERIES}.{number}",
        sop_class_uid=sop_class,
    )


@dataclass
class Pacs:
    """A PACS with one study, which says what it is told to say."""

    there: list[FoundInstance] | None
    count: int | None = None
    silent: bool = False
    moved: Moved = field(default_factory=lambda: Moved(word="move.done"))
    fetched: list[list[str]] = field(default_factory=list)
    asked: int = 0
    results: list[FoundInstance] = field(default_factory=list)

    def studies(self, first, last):
        if self.silent:
            return None
        return [FoundStudy(study_uid=given.STUDY, modalities=frozenset({"CT"}), instances=self.count)]

    def instances(self, study_uid):
        self.asked += 1
        return None if self.silent else self.there

    def everything(self, study_uid):
        return None if self.silent else [*(self.there or ()), *self.results]

    def fetch(self, study_uid, series_uids):
        self.fetched.append(list(series_uids))
        return self.moved


@pytest.fixture
def make(ledger, clock):
    def make_(pacs):
        clock.seconds = given.NOW
        archive = Archive(
            studies=pacs.studies, instances=pacs.instances, everything=pacs.everything, fetch=pacs.fetch
        )
        return Reconciler(ledger, Reconcile(peers=("pacs",)), "pacs", archive)

    return make_


def standing(ledger):
    with ledger.read() as tx:
        return missing.standing(tx, ["pacs"])


def told(ledger):
    with ledger.read() as tx:
        return [event.word for event in events.of_study(tx, given.STUDY) if "reconcile" in event.word]


def states(ledger):
    with ledger.read() as tx:
        return [row.state for row in missing.of_peer(tx, "pacs")]


def arrives(ledger, *numbers):
    with ledger.write() as tx:
        given.kept(tx, *numbers)


def announce(ledger, uid, *numbers):
    named = [notices.Named(given.SERIES, CT, f"{given.SERIES}.{number}") for number in numbers]
    room = notices.Room(notices_max=9, instances_max=99)
    with ledger.write() as tx:
        kind, at = notices.NoticeKind.AVAILABILITY, ledger.clock.now()
        notices.take(tx, "pacs", kind, uid, [given.STUDY], named, at=at, room=room)


def test_what_a_pacs_announced_and_never_came_is_fetched(ledger, make, clock):
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    reconciler = make(pacs)
    announce(ledger, "2.25.1", 1, 2, 3)
    announce(ledger, "2.25.2", 1)
    with ledger.write() as tx:
        given.kept(tx, 1, at=clock.now())
    assert reconciler.turn() == 0
    assert (standing(ledger).waiting, pacs.asked) == (0, 0), "it may be on its way"
    clock.advance(GRACE_SECONDS)
    assert reconciler.turn() == 1
    assert pacs.fetched == [[given.SERIES]]
    arrives(ledger, 2, 3)
    clock.advance(DEFAULT.reconcile_check_seconds)
    reconciler.turn()
    assert states(ledger) == [MissedState.FETCHED]
    asked = pacs.asked
    clock.advance(10 * GRACE_SECONDS)
    assert reconciler.turn() == 0
    assert pacs.asked == asked, "a notice is compared once"


def test_what_was_announced_and_came_is_not_asked_for(ledger, make, clock):
    pacs = Pacs(there=[image(1)], count=1)
    reconciler = make(pacs)
    announce(ledger, "2.25.1", 1)
    arrives(ledger, 1)
    clock.advance(GRACE_SECONDS)
    assert reconciler.turn() == 0
    assert (states(ledger), pacs.asked) == ([], 0)


def test_a_study_that_is_all_here_is_not_missed_and_its_instances_are_not_asked_for(ledger, make):
    arrives(ledger, 1, 2, 3)
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    assert make(pacs).look()
    assert (states(ledger), pacs.asked) == ([], 0)


def test_what_never_arrived_waits_for_the_grace_and_is_then_fetched(ledger, make, clock):
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    reconciler = make(pacs)
    assert reconciler.look()
    assert reconciler.turn() == 0
    assert (standing(ledger).studies, standing(ledger).waiting) == (0, 1)
    clock.advance(GRACE_SECONDS)
    assert reconciler.turn() == 1
    assert pacs.fetched == [[given.SERIES]]
    assert standing(ledger).studies == 1, "what was sent is not what arrived"
    arrives(ledger, 1, 2, 3)
    clock.advance(DEFAULT.reconcile_check_seconds)
    reconciler.turn()
    assert (standing(ledger).studies, states(ledger)) == (0, [MissedState.FETCHED])
    assert told(ledger) == ["reconcile.missed", "reconcile.fetched"]


def test_what_was_on_its_way_is_not_fetched(ledger, make, clock):
    arrives(ledger, 1)
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    reconciler = make(pacs)
    reconciler.look()
    arrives(ledger, 2, 3)
    clock.advance(GRACE_SECONDS)
    reconciler.turn()
    assert (pacs.fetched, states(ledger), told(ledger)) == ([], [MissedState.ARRIVED], [])


def test_a_study_that_still_arrives_is_left_alone(ledger, make, clock):
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    reconciler = make(pacs)
    reconciler.look()
    clock.advance(GRACE_SECONDS)
    with ledger.write() as tx:
        given.kept(tx, 1, at=clock.now() - 1)
    assert reconciler.turn() == 0
    clock.advance(GRACE_SECONDS)
    assert reconciler.turn() == 1


def test_a_study_is_not_fetched_twice_within_its_back_off(ledger, make, clock):
    pacs = Pacs(there=[image(1)], moved=Moved(word="move.partly", status=0xB000, failed=1))
    reconciler = make(pacs)
    reconciler.look()
    clock.advance(GRACE_SECONDS)
    reconciler.turn()
    clock.advance(DEFAULT.reconcile_backoff_seconds - 1)
    reconciler.turn()
    reconciler.look()
    reconciler.turn()
    assert len(pacs.fetched) == 1
    clock.advance(1)
    reconciler.turn()
    assert len(pacs.fetched) == 2
    clock.advance(DEFAULT.reconcile_backoff_seconds * 2 - 1)
    reconciler.turn()
    assert len(pacs.fetched) == 2, "the second wait is longer"
    assert standing(ledger).studies == 1
    assert told(ledger) == ["reconcile.missed", "reconcile.incomplete", "reconcile.incomplete"]


def test_own_results_and_objects_without_images_are_not_missed(ledger, make):
    given.ended(ledger)
    own = FoundInstance(series_uid="2.25.1", modality="OT", sop_instance_uid="2.25.1.2", sop_class_uid=SC)
    report = image(8, sop_class=SR, modality="SR")
    nameless = image(9, sop_class="", modality="PR")
    pacs = Pacs(there=[*(image(n) for n in (1, 2, 3)), own, report, nameless], count=6)
    assert make(pacs).look()
    assert (pacs.asked, states(ledger)) == (1, [])


def test_instances_are_asked_for_once_while_the_count_stays(ledger, make):
    arrives(ledger, 1)
    pacs = Pacs(there=[image(1), image(2, sop_class=SR, modality="SR")], count=2)
    reconciler = make(pacs)
    reconciler.look()
    reconciler.look()
    assert pacs.asked == 1
    pacs.count = 3
    pacs.there = [image(1), image(2, sop_class=SR, modality="SR"), image(3)]
    reconciler.look()
    assert (pacs.asked, states(ledger)) == (2, [MissedState.WAITING])


def test_silence_changes_nothing(ledger, make, clock):
    pacs = Pacs(there=[image(1)])
    reconciler = make(pacs)
    pacs.silent = True
    assert not reconciler.look()
    assert standing(ledger).looked_at == {"pacs": None}
    pacs.silent = False
    assert reconciler.look()
    assert standing(ledger).looked_at == {"pacs": given.NOW}
    clock.advance(GRACE_SECONDS)
    pacs.silent = True
    assert reconciler.turn() == 0
    assert states(ledger) == [MissedState.WAITING]


def test_what_the_pacs_no_longer_has_is_not_missed_for_ever(ledger, make, clock):
    pacs = Pacs(there=[image(1)])
    reconciler = make(pacs)
    reconciler.look()
    clock.advance(GRACE_SECONDS)
    pacs.there = []
    reconciler.turn()
    assert (states(ledger), pacs.fetched, told(ledger)) == ([MissedState.GONE], [], ["reconcile.gone"])


def test_a_study_that_grows_after_it_was_fetched_is_missed_anew(ledger, make, clock):
    pacs = Pacs(there=[image(1)])
    reconciler = make(pacs)
    reconciler.look()
    arrives(ledger, 1)
    clock.advance(GRACE_SECONDS)
    reconciler.turn()
    pacs.there = [image(1), image(2)]
    reconciler.look()
    with ledger.read() as tx:
        (row,) = missing.of_peer(tx, "pacs")
    assert (row.state, row.absent, row.tries) == (MissedState.WAITING, 1, 0)


def test_what_was_refused_and_is_there_all_the_same_is_said_to_be_accepted(ledger, make, clock):
    """The peer took it, its answer was lost, and it would not take it again; a person ended the other."""
    job = given.ended(ledger)
    for parcel in given.parcels(ledger):
        with ledger.write() as tx:
            deliveries.dead(tx, parcel, status=0xA900, word="courier.refused", at=given.NOW)
            if parcel.item.output == "sc":
                deliveries.settle(tx, [parcel.id], by="alice", send_again=False, at=given.NOW)
    pacs = Pacs(there=[image(n) for n in (1, 2, 3)], count=3)
    reconciler = make(pacs)
    reconciler.look()
    assert delivered(ledger) == {"sr": "DEAD", "sc": "SETTLED"}, "it does not have them"
    made = {one.output: one.sop_instance_uid for one in objects_of(ledger, job)}
    for output in ("sr", "sc"):
        pacs.results.append(
            FoundInstance(series_uid="2.25.1", modality="SR", sop_instance_uid=made[output], sop_class_uid=SR)
        )
        reconciler.look()
    assert delivered(ledger) == {"sr": "ACCEPTED", "sc": "ACCEPTED"}
    with ledger.read() as tx:
        found = [event for event in events.of_study(tx, given.STUDY) if event.word == "courier.found_there"]
        assert [event.detail["output"] for event in found] == ["sr", "sc"]
        assert counts.count(tx).balance == 0


def test_of_what_was_given_up_only_the_newest_studies_are_asked_about(ledger, make, clock):
    given.ended(ledger)
    for parcel in given.parcels(ledger):
        with ledger.write() as tx:
            deliveries.dead(tx, parcel, status=0xA900, word="courier.refused", at=given.NOW)
    asked: list[object] = []
    clock.advance(2 * 3600.0)
    given_up.look(ledger, "archive", asked.append, hours_back=24.0)
    given_up.look(ledger, "pacs", asked.append, hours_back=1.0)
    assert asked == []
    given_up.look(ledger, "pacs", asked.append, hours_back=24.0)
    assert asked == [given.STUDY]


def delivered(ledger):
    with ledger.read() as tx:
        return {d.output: d.state for d in deliveries.of_study(tx, given.STUDY) if d.peer == "pacs"}


def objects_of(ledger, job):
    with ledger.read() as tx:
        (result,) = results.of_study(tx, job.study_uid)
        return results.objects_of(tx, result.id)
