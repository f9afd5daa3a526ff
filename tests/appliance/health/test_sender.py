"""Sending: at least once, newest state first, with pauses that a registry may lengthen."""

import json

import pytest

from appliance.health.codes import Kind
from appliance.health.limits import SendLimits
from appliance.health.outbox import Outbox
from appliance.health.schema import decode
from appliance.health.sender import TAKEN, Posted, Sender

WORK = {"hour": 472_222, "release": 7}


class Registry:
    """A registry that keeps by number, and answers what the test says."""

    def __init__(self):
        self.kept, self.bodies, self.answers = {}, [], []
        self.poison = None

    def __call__(self, body):
        self.bodies.append(body)
        records = decode(body)
        if self.answers:
            return self.answers.pop(0)
        if self.poison in {one.seq for one in records}:
            return Posted(answer=None, word="unknown_form", unfit=True)
        self.kept |= {one.seq: one for one in records}
        said = {"acknowledged": max(self.kept), "director": 3, "image": 2, "now": 1_700_000_010}
        return Posted(answer=json.dumps(said).encode(), word=TAKEN)


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def outbox(tmp_path, clock):
    return Outbox(folder=tmp_path / "telemetry", clock=clock)


@pytest.fixture
def sender(outbox, registry):
    return Sender(
        outbox=outbox, post=registry, limits=SendLimits(records_max=10), jitter=lambda low, _high: low
    )


def fill(outbox, many):
    return [outbox.add(Kind.WORK, WORK) for _ in range(many)]


def test_everything_arrives_and_every_batch_is_noted(sender, outbox, registry):
    seqs = fill(outbox, 25)
    look = outbox.add(Kind.MACHINE, {"load": 1.0})
    assert sender.turn() == 60
    assert set(registry.kept) == {*seqs, look}
    assert decode(registry.bodies[0])[0].seq == look
    assert outbox.backlog() == 0
    left = outbox.departures(99)
    assert [one.body for one in reversed(left)] == registry.bodies
    assert {one.answer for one in left} == {TAKEN}
    assert outbox.number("clock_offset") == -10
    assert (outbox.number("director"), outbox.number("image")) == (3, 2)


def test_weeks_offline_are_made_up_for(sender, outbox, registry, clock):
    registry.answers = [Posted(answer=None, word="unreachable", left=False)] * 40
    seqs = []
    for _ in range(40):
        seqs += fill(outbox, 2)
        sender.turn()
        clock.advance(86_400)
    assert outbox.departures(9) == []
    sender.turn()
    assert set(registry.kept) == set(seqs)


def test_failures_wait_longer_each_time_and_a_success_ends_that(sender, outbox, registry):
    fill(outbox, 1)
    registry.answers = [Posted(answer=None, word="cut_off")] * 9
    assert [sender.turn() for _ in range(9)] == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert sender.turn() == 60
    registry.answers = [Posted(answer=None, word="cut_off")]
    fill(outbox, 1)
    assert sender.turn() == 30


@pytest.mark.parametrize(("asked", "waited"), [(5.0, 30), (500.0, 500), (10**9, 3600)])
def test_a_pause_that_is_asked_for_is_kept_within_a_bound(sender, outbox, registry, asked, waited):
    fill(outbox, 1)
    registry.answers = [Posted(answer=None, word="unreachable", pause_seconds=asked)]
    assert sender.turn() == waited
    assert outbox.backlog() == 1


def test_a_pause_is_never_shorter_than_asked(outbox, registry):
    fill(outbox, 1)
    registry.answers = [Posted(answer=None, word="unreachable", pause_seconds=500.0)]
    assert Sender(outbox=outbox, post=registry).turn() >= 500


def test_a_record_that_is_never_taken_does_not_hold_up_the_rest(sender, outbox, registry):
    seqs = fill(outbox, 23)
    registry.poison = seqs[4]
    sender.turn()
    assert set(registry.kept) == set(seqs) - {registry.poison}
    assert outbox.number("lost") == 1
    assert outbox.backlog() == 0


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"acknowledged": "9"}', b'{"acknowledged": 0}', b"[" * 9999]
)
def test_what_is_not_acknowledged_is_sent_again(sender, outbox, registry, answer):
    fill(outbox, 3)
    registry.answers = [Posted(answer=answer, word=TAKEN)]
    assert sender.turn() == 30
    assert outbox.backlog() == 3
    sender.turn()
    assert len(registry.kept) == 3


def test_an_answer_that_was_lost_sends_the_same_records_again(sender, outbox, registry):
    seqs = fill(outbox, 3)
    registry.answers = [Posted(answer=None, word="cut_off")]
    sender.turn()
    sender.turn()
    first, second = (decode(body) for body in registry.bodies)
    assert [one.seq for one in first] == [one.seq for one in second] == seqs
    assert [one.answer for one in outbox.departures(9)] == [TAKEN, "cut_off"]


def test_nothing_to_send_sends_nothing(sender, registry):
    assert sender.turn() == 60
    assert registry.bodies == []
