"""Bells: they reach whom they should, and losing them harms nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from appliance.queue.bell import BellCord
from appliance.queue.hub import Hub, hub_address
from appliance.queue.tickets import BadTicket, Bell, Ticket, decode, encode


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with closing(Hub(tmp_path / "run")) as made:
        yield made


def cord(tmp_path: Path) -> closing[BellCord]:
    return closing(BellCord(tmp_path / "run"))


@given(st.sampled_from(Bell), st.integers(0, 2**63))
def test_a_ticket_comes_back(bell, number):
    assert decode(encode(Ticket(bell, number))) == Ticket(bell, number)


@given(st.binary(max_size=40))
def test_anything_else_is_a_bad_ticket(noise):
    try:
        assert encode(decode(noise))[:5] == noise[:5]
    except BadTicket:
        return


def test_an_arrival_wakes_the_conductor(hub: Hub, tmp_path: Path):
    with cord(tmp_path) as listener:
        assert not hub.listen(0.01)
        listener.ring(Ticket(Bell.ARRIVED))
        assert hub.listen(2)


def test_a_job_goes_to_one_idle_worker_only(hub: Hub, tmp_path: Path):
    with cord(tmp_path) as one, cord(tmp_path) as two:
        assert not hub.offer(1)
        one.ring(Ticket(Bell.IDLE))
        assert hub.listen(2)
        two.ring(Ticket(Bell.IDLE))
        assert hub.listen(2)
        assert hub.offer(42)
        assert one.wait(2) == Ticket(Bell.JOB, 42)
        assert two.wait(0.05) is None
        assert hub.offer(43)
        assert two.wait(2) == Ticket(Bell.JOB, 43)
        assert not hub.offer(44)


def test_an_arrival_is_told_to_idle_workers_who_stay_idle(hub: Hub, tmp_path: Path):
    with cord(tmp_path) as listener, cord(tmp_path) as idle, cord(tmp_path) as busy:
        for worker in (idle, busy):
            worker.ring(Ticket(Bell.IDLE))
            assert hub.listen(2)
        assert hub.offer(1)
        assert hub.offer(2)
        idle.wait(2)
        busy.wait(2)
        idle.ring(Ticket(Bell.IDLE))
        assert hub.listen(2)
        listener.ring(Ticket(Bell.ARRIVED))
        assert hub.listen(2)
        assert idle.wait(2) == Ticket(Bell.ARRIVED)
        assert busy.wait(0.05) is None
        assert hub.offer(42)
        assert idle.wait(2) == Ticket(Bell.JOB, 42)


def test_a_delivery_is_told_to_the_courier(hub: Hub, tmp_path: Path):
    with cord(tmp_path) as courier, cord(tmp_path) as worker:
        courier.ring(Ticket(Bell.HELLO))
        hub.listen(2)
        worker.ring(Ticket(Bell.DELIVERY))
        assert hub.listen(2)
        assert courier.wait(2) == Ticket(Bell.DELIVERY)


def test_noise_is_dropped_and_the_hub_goes_on(hub: Hub, tmp_path: Path):
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.linger = 0
    stranger.connect(hub_address(tmp_path / "run"))
    for noise in (b"", b"x" * 100_000, b"\x80\x04\x95pickle"):
        stranger.send(noise)
    with cord(tmp_path) as listener:
        listener.ring(Ticket(Bell.ARRIVED))
        assert any(hub.listen(0.5) for _ in range(5))
    stranger.close()
    context.term()


def test_ringing_without_a_hub_is_silent_and_does_not_block(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with cord(tmp_path) as lonely:
        for _ in range(3000):
            lonely.ring(Ticket(Bell.ARRIVED))
        assert lonely.wait(0.01) is None


def test_a_new_hub_is_found_again(tmp_path: Path):
    with closing(Hub(tmp_path / "run")):
        kept = cord(tmp_path)
    with closing(Hub(tmp_path / "run")) as hub, kept as worker:
        heard = False
        for _ in range(20):
            worker.ring(Ticket(Bell.IDLE))
            heard = hub.listen(0.5) or heard
            if heard:
                break
        assert heard
        assert hub.offer(7)
