"""What each word of the timeline says in the trail."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest

from appliance.audit.telling import WORDS
from appliance.ledger import audit as rows
from tests.appliance.audit.schema import faults
from tests.appliance.ledger import given

DETAIL = {
    "user": "ada",
    "by": "ada",
    "reason": "it was so",
    "status": "C110",
    "service": "listener",
    "pid": 7,
}


def told(ledger, trail):
    """Return the newest message of the trail as XML."""
    while trail.turn():
        pass
    with ledger.read() as tx:
        return Xml.fromstring(rows.rows_after(tx, 0, limit=10_000)[-1].body)


def participants(message):
    return {one.get("UserID"): one.get("UserIsRequestor") for one in message.findall("ActiveParticipant")}


def objects(message):
    return [one.get("ParticipantObjectID") for one in message.findall("ParticipantObjectIdentification")]


@pytest.fixture
def a_study(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2, 3)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_makes_a_message_of_the_schema(ledger, trail, happened, a_study, word):
    happened(word, study_uid=given.STUDY, **DETAIL)
    message = told(ledger, trail)
    assert faults(Xml.tostring(message, encoding="unicode")) == []


def test_who_looked_at_which_study_is_told(ledger, trail, happened, a_study):
    happened("console.viewed", study_uid=given.STUDY, user="ada", page="study")
    message = told(ledger, trail)
    assert message.find("EventIdentification/EventID").get("csd-code") == "110103"
    assert participants(message) == {"ada": "true", "AETITLES=READSIDE": "false"}
    assert objects(message) == [given.STUDY, "P1"]


def test_what_a_sender_brought_is_told_with_its_address_and_counts(ledger, trail, happened, a_study):
    happened("assemble.ready", study_uid=given.STUDY, instances=3)
    message = told(ledger, trail)
    assert participants(message) == {"AETITLES=CT1": "true", "AETITLES=READSIDE": "false"}
    assert message.find("ActiveParticipant").get("NetworkAccessPointID") == "10.0.0.7"
    counted = message.find("ParticipantObjectIdentification/ParticipantObjectDescription/SOPClass")
    assert counted.get("NumberOfInstances") == "3"


def test_what_was_sent_is_told_with_its_destination(ledger, trail, happened):
    given.ended(ledger)
    with ledger.read() as tx:
        delivery = tx.exec_driver_sql("SELECT id FROM deliveries ORDER BY id LIMIT 1").scalar_one()
    happened("courier.accepted", study_uid=given.STUDY, delivery=delivery, output="sr", status=0)
    message = told(ledger, trail)
    assert participants(message) == {"AETITLES=READSIDE": "true", "AETITLES=PACS1": "false"}
    assert objects(message) == [given.STUDY, "P1"]


def test_an_unauthorised_store_is_an_alert(ledger, trail, happened):
    happened("receive.refused", peer="ct", status="0124", reason="This AE title may not store here")
    message = told(ledger, trail)
    assert message.find("EventIdentification/EventID").get("csd-code") == "110113"
    assert message.find("EventIdentification/EventTypeCode").get("csd-code") == "110132"
    assert message.find("EventIdentification").get("EventOutcomeIndicator") == "4"


def test_a_failed_log_in_is_a_failure_of_authentication(ledger, trail, happened):
    happened("console.login_failed", user="mallory")
    event = told(ledger, trail).find("EventIdentification")
    assert (event.find("EventID").get("csd-code"), event.get("EventOutcomeIndicator")) == ("110114", "8")


def test_what_is_the_boxs_own_business_is_not_told(ledger, trail, happened):
    trail.turn()
    happened("courier.later", delivery=1, output="sr")
    assert trail.turn() == 0


@pytest.mark.parametrize(("calling_ae", "who"), [("CT1", "AETITLES=CT1"), ("", "10.0.0.66")])
def test_a_machine_that_is_not_who_it_says_is_an_alert(ledger, trail, happened, calling_ae, who):
    word = "roster.identity_mismatch" if calling_ae else "tls.refused"
    happened(word, reason="another_certificate", address="10.0.0.66", calling_ae=calling_ae)
    message = told(ledger, trail)
    assert message.find("EventIdentification/EventID").get("csd-code") == "110113"
    assert message.find("EventIdentification/EventTypeCode").get("csd-code") == "110126"
    assert message.find("EventIdentification").get("EventOutcomeIndicator") == "4"
    assert participants(message) == {who: "true", "AETITLES=READSIDE": "false"}
    assert message.find("ActiveParticipant").get("NetworkAccessPointID") == "10.0.0.66"
