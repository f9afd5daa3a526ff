"""Messages are what PS3.15 A.5.1 asks for, whatever the text in them."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest

from appliance.audit.message import (
    Coded,
    Message,
    Participant,
    Source,
    encode,
    patient_object,
    study_object,
)
from tests.appliance.audit.schema import faults

SOURCE = Source(site_name="St. Elsewhere", ae_title="READSIDE")


def message(**changes):
    values = {
        "event": Coded(code="110103", meaning="DICOM Instances Accessed"),
        "action": "R",
        "at": 1_700_000_000.25,
        "participants": [Participant(user_id="ada", is_requestor=True, host="10.0.0.7")],
        "objects": [study_object("1.2.3", [("1.2.840.10008.5.1.4.1.1.2", 12)]), patient_object("P1")],
    }
    return Message(**{**values, **changes})


def attribute(root: Xml.Element, element: str, name: str) -> str | None:
    found = root.find(element)
    assert found is not None
    return found.get(name)


def test_a_message_holds_to_the_schema():
    assert faults(encode(message(), SOURCE)) == []


def test_a_message_says_when_in_universal_time():
    root = Xml.fromstring(encode(message(), SOURCE))
    assert attribute(root, "EventIdentification", "EventDateTime") == "2023-11-14T22:13:20.250Z"


@pytest.mark.parametrize(
    ("host", "kind"), [("10.0.0.7", "2"), ("fe80::1", "2"), ("pacs.example", "1"), ("cafe", "1")]
)
def test_a_host_is_an_address_or_a_name(host, kind):
    one = Participant(user_id="x", is_requestor=True, host=host)
    root = Xml.fromstring(encode(message(participants=[one]), SOURCE))
    assert attribute(root, "ActiveParticipant", "NetworkAccessPointTypeCode") == kind


@pytest.mark.parametrize(
    "text", ['"/><x a="', "<b>&amp;", "a\0b\x1bc", "\ud800", "\N{HEADSTONE GRAVEYARD SYMBOL}"]
)
def test_no_text_breaks_out_of_its_place(text):
    who = Participant(user_id=text, is_requestor=False)
    body = encode(message(participants=[who], description=text, objects=[patient_object(text)]), SOURCE)
    assert faults(body.encode("utf-8").decode()) == []


def test_a_patient_without_an_id_is_said_to_have_none():
    root = Xml.fromstring(encode(message(objects=[patient_object("")]), SOURCE))
    assert attribute(root, "ParticipantObjectIdentification", "ParticipantObjectID") == "<none>"


def test_the_schema_of_the_tests_finds_what_is_wrong():
    body = encode(message(), SOURCE).replace('UserIsRequestor="true"', 'UserIsRequestor="maybe"')
    assert faults(body) == ["ActiveParticipant: UserIsRequestor='maybe'"]
