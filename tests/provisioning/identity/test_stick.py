"""A box without a network is claimed by files that a person carries."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provisioning.identity import stick
from provisioning.identity.enrol import FILES, EnrolFault, Home
from provisioning.identity.qr import fits
from provisioning.registry import ca, enrolment
from tests.provisioning.identity.town import DAY, SLOT


def answered(town, text):
    asked = stick.read_request(text.encode())
    made = enrolment.enrol(town.office, asked.slot, asked.code, ca.request_of(asked.request))
    return stick.answer_text(made.pem, dict(enrolment.welcome(town.office, asked.slot))).encode()


def test_a_request_goes_out_and_an_answer_makes_it_claimed(town):
    box = town.machine("first")
    text = stick.ask(box.roots, town.invite(), home=Home.FILE, serial="SN-1")
    assert fits(text)
    assert "PRIVATE" not in text
    answer = answered(town, text)
    # It lay about for a week.
    town.clock.advance(7 * DAY)
    claimed = stick.take(box.roots, answer, clock=box.clock)
    assert (claimed.slot, claimed.device) == (SLOT, box.key.id)
    assert set(FILES) <= {path.name for path in box.roots.iterdir()}
    # And from then on it is as any other, when there is a network.
    assert box.desk.welcome().slot == SLOT
    with pytest.raises(EnrolFault, match="waits for no answer"):
        stick.take(box.roots, answer, clock=box.clock)


def test_an_answer_of_another_box_slot_or_registry_is_not_taken(town):
    box, other = town.machine("first"), town.machine("second")
    text = stick.ask(box.roots, town.invite(), home=Home.FILE)
    stick.ask(other.roots, town.invite("box-2"), home=Home.FILE)
    answer = answered(town, text.replace(json.loads(text)["code"], town.invite().code))
    with pytest.raises(EnrolFault, match="another key or another slot"):
        stick.take(other.roots, answer, clock=box.clock)
    stick.ask(box.roots, replace(town.invite("box-3"), slot=SLOT, anchor="00" * 16), home=Home.FILE)
    with pytest.raises(EnrolFault, match="somebody is in between"):
        stick.take(box.roots, answer, clock=box.clock)
    assert not (box.roots / "device.crt").exists()
    with pytest.raises(EnrolFault, match="set this box's clock"):
        stick.take(box.roots, answer, clock=replace(box.clock, seconds=box.clock.now() - 30 * DAY))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"form": 2}', '{"form": 1}', '{"form": 1, "welcome": []}'])
def test_what_is_no_request_or_answer_says_so(town, text):
    box = town.machine("first")
    stick.ask(box.roots, town.invite(), home=Home.FILE)
    with pytest.raises(EnrolFault):
        stick.read_request(text.encode())
    with pytest.raises(EnrolFault):
        stick.take(box.roots, text.encode(), clock=box.clock)


def test_a_file_that_is_not_small_is_not_read(tmp_path):
    (tmp_path / "large").write_bytes(bytes(1_000_001))
    with pytest.raises(EnrolFault, match="longer"):
        stick.read_small(tmp_path / "large")
    with pytest.raises(EnrolFault, match="cannot be read"):
        stick.read_small(tmp_path / "none")
