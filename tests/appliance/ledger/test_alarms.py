"""Alarms: raised once, ended once, on both databases."""

from __future__ import annotations

from appliance.ledger import alarms
from appliance.ledger.alarms import Alarm
from tests.appliance.ledger import given


def settle(ledger, *wanted, at=given.NOW):
    with ledger.write() as tx:
        raised, ended = alarms.settle(tx, wanted, at=at)
    return [(one.kind, one.subject) for one in raised], [(one.kind, one.subject) for one in ended]


CT = Alarm(kind=1, subject="CT", numbers={"since": 6.0})
DISK = Alarm(kind=7, subject="", numbers={})


def test_an_alarm_is_raised_once_and_ends_once(ledger):
    assert settle(ledger, CT, DISK) == ([(1, "CT"), (7, "")], [])
    assert settle(ledger, CT, DISK, at=given.NOW + 60) == ([], [])
    assert settle(ledger, DISK, at=given.NOW + 120) == ([], [(1, "CT")])
    with ledger.read() as tx:
        assert [one.kind for one in alarms.current(tx)] == [7]
        newest, oldest = alarms.latest(tx, 9)
    assert (oldest.raised_at, oldest.ended_at) == (given.NOW, given.NOW + 120)
    assert (newest.raised_at, newest.ended_at) == (given.NOW, None)


def test_what_goes_on_keeps_its_beginning_and_gets_new_numbers(ledger):
    settle(ledger, CT)
    settle(ledger, Alarm(kind=1, subject="CT", numbers={"since": 7.0}), at=given.NOW + 60)
    with ledger.read() as tx:
        (one,) = alarms.current(tx)
    assert (one.raised_at, one.numbers) == (given.NOW, {"since": 7.0})


def test_what_comes_back_is_another_row(ledger):
    settle(ledger, CT)
    settle(ledger, at=given.NOW + 60)
    assert settle(ledger, CT, at=given.NOW + 120) == ([(1, "CT")], [])
    with ledger.read() as tx:
        assert [one.raised_at for one in alarms.latest(tx, 9)] == [given.NOW + 120, given.NOW]
        assert len(alarms.current(tx)) == 1
