"""Studies: gathering, complete series, ready, held and released."""

from __future__ import annotations

import pytest

from appliance.core.words import StudyState
from appliance.ledger import arrivals, events, studies
from tests.appliance.ledger import given


def test_a_quiet_study_becomes_ready_with_its_content(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2)
        study = given.ready(tx, at=given.NOW + 60)
        assert (study.state, study.reason, study.ready_at) == (StudyState.READY, "quiet", given.NOW + 60)
        assert study.content_digest == given.content_digest(tx)
        assert events.of_study(tx, given.STUDY)[-1].detail == {"reason": "quiet", "instances": 2}


@pytest.mark.parametrize("later", [5.0, -5.0], ids=["later", "stamped earlier"])
def test_a_study_that_grew_since_it_was_read_does_not_become_ready(ledger, later):
    with ledger.write() as tx:
        given.kept(tx, 1)
        read = given.study(tx)
    with ledger.write() as tx:
        given.kept(tx, 2, at=given.NOW + later)
    with ledger.write() as tx:
        assert not studies.ready(
            tx, read, content_digest="sha256:old", instance_count=1, reason="quiet", at=given.NOW
        )
        assert given.study(tx).state is StudyState.GATHERING


def test_a_study_that_grew_since_it_was_read_is_not_held(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        read = given.study(tx)
        given.kept(tx, 2, at=given.NOW + 1)
        assert not studies.hold(tx, read, reason="two patients", at=given.NOW)
        assert given.study(tx).state is StudyState.GATHERING


def test_a_series_that_grew_since_it_was_measured_is_not_complete(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        (read,) = studies.series_of(tx, given.STUDY)
        given.kept(tx, 2, at=given.NOW + 1)
        assert not studies.complete_series(tx, read, facts={"slices": 1}, at=given.NOW)
        assert studies.series_of(tx, given.STUDY)[0].facts is None


def test_content_that_was_decided_before_keeps_its_decisions(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        given.decided(tx)
        # Other bytes, then the former ones again: the content is what it was.
        arrivals.add(tx, given.instance(content="b"), calling_ae="CT1", at=given.NOW + 1)
        arrivals.add(tx, given.instance(), calling_ae="CT1", at=given.NOW + 2)
        assert given.study(tx).state is StudyState.GATHERING
        assert given.ready(tx, at=given.NOW + 60).state is StudyState.DECIDED


def test_content_that_was_ready_but_not_decided_is_decided_still(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        given.ready(tx)
        arrivals.add(tx, given.instance(content="b"), calling_ae="CT1", at=given.NOW + 1)
        arrivals.add(tx, given.instance(), calling_ae="CT1", at=given.NOW + 2)
        assert given.ready(tx).state is StudyState.READY


def test_a_held_study_waits_for_a_person(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        assert studies.hold(tx, given.study(tx), reason="two patients", at=given.NOW)
        held = given.study(tx)
        assert (held.state, held.reason) == (StudyState.HELD, "two patients")
        with pytest.raises(AssertionError, match="HELD -> READY"):
            studies.ready(tx, held, content_digest="x", instance_count=1, reason="quiet", at=given.NOW)
        assert studies.release(tx, given.STUDY, at=given.NOW + 9)
        assert (given.study(tx).state, given.study(tx).gathering_since) == (
            StudyState.GATHERING,
            given.NOW + 9,
        )
        assert not studies.release(tx, given.STUDY, at=given.NOW + 9)
        assert [event.word for event in events.of_study(tx, given.STUDY)][1:] == [
            "assemble.held",
            "assemble.released",
        ]


def test_move_says_whether_the_study_was_still_there(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        given.decided(tx)
        assert studies.move(tx, given.STUDY, StudyState.DECIDED, StudyState.CLOSED)
        assert not studies.move(tx, given.STUDY, StudyState.DECIDED, StudyState.CLOSED)


def test_what_a_peer_said_of_the_count_is_remembered(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2)
        studies.asked(tx, given.STUDY, count=3, kept=2, at=given.NOW + 4)
        study = given.study(tx)
    assert (study.asked_count, study.asked_kept, study.asked_at) == (3, 2, given.NOW + 4)


def test_lists_are_in_their_order(ledger):
    with ledger.write() as tx:
        for number, at in ((1, 30.0), (2, 10.0), (3, 20.0)):
            given.kept(tx, 1, study=f"1.2.{number}", series=f"1.2.{number}.1", at=at)
        assert [s.study_uid for s in studies.in_state(tx, StudyState.GATHERING)] == [
            "1.2.2",
            "1.2.3",
            "1.2.1",
        ]
        assert [s.study_uid for s in studies.latest(tx, 2)] == ["1.2.1", "1.2.3"]
        assert [s.study_uid for s in studies.latest(tx, 2, offset=2)] == ["1.2.2"]
        assert studies.find(tx, "1.2.9") is None


def test_two_identities_are_seen_whatever_the_padding():
    with_padding = [given.instance(facts={"PatientID": "P1 "}), given.instance(facts={"PatientID": "P1"})]
    assert studies.distinct_identities(with_padding) == {("P1", "")}
    with_issuer = [given.instance(facts={"PatientID": "P1", "IssuerOfPatientID": "B"}), *with_padding]
    assert studies.distinct_identities(with_issuer) == {("P1", ""), ("P1", "B")}
