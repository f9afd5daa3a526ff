"""Why a model ran or did not, in sentences that name no patient."""

from __future__ import annotations

import json

import pytest

from appliance.console.explain import why
from appliance.core.limits import DEFAULT
from appliance.core.words import DeliveryState, JobState, Outcome
from appliance.ledger import custody, deliveries, jobs, studies
from tests.appliance.console import filling
from tests.appliance.console.filling import FAILED, GATHERING, HELD, LATE, NORMAL


def lines(console, uid):
    found = why(console.ledger, uid)
    assert found is not None
    return found.lines()


def test_an_unknown_study(ledger):
    assert why(ledger, "1.2.3") is None


@pytest.mark.parametrize("uid", [NORMAL, FAILED, HELD, GATHERING, LATE])
def test_no_explanation_names_the_patient(filled, uid):
    found = why(filled.ledger, uid)
    assert found is not None
    text = json.dumps(found.as_dict()) + "\n".join(found.lines())
    for secret in ("Nowak", "Okafor", "Smith", "Lindqvist", "<script", "MRN-", "A2026-", "1957"):
        assert secret not in text


def test_a_study_that_went_through(filled):
    said = lines(filled, NORMAL)
    assert said[0].startswith("Complete with 12 images (quiet for 60 seconds); all work")
    assert "Route ct-bands: run. Series 2 fits." in said
    assert '  Series 1 "Scout": slices >= 40 is false: it has 2.' in said
    assert '  Series 2 "STD BRAIN 1MM": It fits and has the thinnest slices.' in said
    assert "  Job 1 (ct-tissue-bands 1.0.0, run 1) is done." in said
    assert any("superseded by a later result" in line for line in said)
    assert "    pacs: 2 objects accepted." in said
    assert "Route lesion: no match. No series fits." in said


def test_a_failure_is_no_negative(filled):
    said = "\n".join(lines(filled, FAILED))
    assert "something of it waits for a person" in said
    assert "failed: slice 17 could not be decoded within 30 seconds." in said
    assert "Not analysed: the analysis failed." in said
    assert "pacs: 2 objects refused for good (status A900H); a person must send again or settle." in said


def test_a_held_study(filled):
    assert lines(filled, HELD) == [
        "Held with 12 images: two patient identities in one study. "
        "Nothing is decided or sent until a person releases it."
    ]


def test_a_study_that_still_arrives(filled):
    assert lines(filled, GATHERING)[0].startswith("Still receiving: 8 images so far, the last at 20")


def test_decisions_about_an_earlier_content_are_marked_and_come_last(filled):
    found = why(filled.ledger, LATE)
    assert found is not None
    assert [(route.route, route.current) for route in found.routes] == [
        ("ct-bands", True), ("lesion", True), ("ct-bands", False), ("lesion", False),
    ]  # fmt: skip
    said = "\n".join(found.lines())
    assert "Job 5 (ct-tissue-bands 1.0.0, run 1) waits for a worker." in said
    assert "did not run the model: slice spacing 7.5 mm, 5 mm are allowed." in said
    assert "Not analysed: the images do not fit the model." in said


def test_what_was_set_aside_and_given_up_is_said(filled):
    with filled.ledger.write() as tx:
        custody.quarantine(tx, [f"kept/{HELD}.2.1.dcm"], reason="bytes and digest differ", at=1.0)
        custody.purge(tx, [filling.instance(HELD, 2)], at=2.0)
    said = lines(filled, HELD)
    assert "1 image set aside (quarantined): no model sees them." in said
    assert "1 image removed after the time of keeping; they can be sent again." in said
    assert "An image was set aside: bytes and digest differ." in said


def test_a_peers_count_is_said(filled):
    with filled.ledger.write() as tx:
        studies.asked(tx, GATHERING, count=90, kept=8, at=filled.clock.now())
    assert "says the study has 90 images; 8 were here" in lines(filled, GATHERING)[1]


def test_jobs_under_way_and_put_off(filled):
    with filled.ledger.write() as tx:
        job = jobs.lease(tx, 5, owner="w:1", at=filled.clock.now(), seconds=30)
        assert job is not None
    assert "  Job 5 (ct-tissue-bands 1.0.0, run 1) is running, attempt 1." in lines(filled, LATE)
    with filled.ledger.write() as tx:
        jobs.postpone(
            tx, job, word="job.later", reason="disk error", at=1.0, not_before=filled.clock.now() + 10
        )
    assert any("waits for a worker; it is tried again after 20" in line for line in lines(filled, LATE))
    with filled.ledger.write() as tx:
        for _ in range(DEFAULT.kills_max):
            jobs.lease(tx, 5, owner="w:1", at=filled.clock.now() + 20, seconds=1)
            jobs.release_dead(tx, at=filled.clock.now() + 40, limits=DEFAULT)
    found = why(filled.ledger, LATE)
    assert found is not None
    assert found.routes[0].runs[0].state is JobState.HELD
    assert "is held: its worker died 3 times" in found.routes[0].runs[0].sentence


def test_a_delivery_that_waits_says_when_it_is_tried(filled):
    now = filled.clock.now()
    with filled.ledger.write() as tx:
        for parcel in deliveries.take(tx, "pacs", at=now, limits=DEFAULT):
            deliveries.later(
                tx, parcel, status=None, word="courier.later", at=now, due_at=now + 9, refused=False
            )
    said = "\n".join(lines(filled, LATE))
    assert "pacs: 2 objects tried again later, next at 20" in said
    assert "no answer after 1 attempt." in said


def test_a_settled_delivery_says_who_ended_it(filled):
    with filled.ledger.write() as tx:
        ids = [d.id for d in deliveries.in_state(tx, DeliveryState.DEAD, limit=9)]
        deliveries.settle(tx, ids, by="amina", send_again=False, at=1.0)
    assert "    pacs: 2 objects ended unsent (amina)." in lines(filled, FAILED)


def test_only_a_real_inference_says_no_finding():
    from appliance.console.wording import OUTCOMES

    assert set(OUTCOMES) == set(Outcome)
    for outcome, label in OUTCOMES.items():
        inferred = outcome not in (Outcome.NOT_ELIGIBLE, Outcome.FAILED, Outcome.NOT_RUN)
        assert label.meaning.startswith("Not analysed") is not inferred
        assert ("no finding" in label.text) is (outcome is Outcome.NO_FINDING)
    assert len({label.sign for label in OUTCOMES.values()}) == len(OUTCOMES)
    assert len({label.css for label in OUTCOMES.values()}) == len(OUTCOMES)
