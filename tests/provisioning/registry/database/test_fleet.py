"""The fleet as its pages ask for it, on both databases."""

from __future__ import annotations

from provisioning.registry.database import alerts, devices, fleet, telemetry
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import Database
from provisioning.registry.database.telemetry import Batch
from provisioning.registry.database.words import DeviceState
from tests.provisioning.registry.given import RELEASE, enrolled, state

NOW, SINCE = 10_000.0, 9_100.0


def test_silent_devices_are_found_and_left_out(database: Database):
    for slot, at in (("never-heard", 5.0), ("away", 5.0), ("long-silent", 1.0), ("fresh", NOW)):
        enrolled(database, slot, at=at)
    heard = enrolled(database, "heard", at=1.0)
    with database.write() as tx:
        devices.add_slot(tx, Slot(name="empty"), at=1.0)
        devices.change_slot(tx, "away", offline_until=NOW)
        telemetry.store(tx, [Batch(device=heard.id, records=[state(1, NOW)])], at=NOW)
    with database.read() as tx:
        assert [one.slot for one in fleet.silent(tx, since=SINCE, limit=9)] == ["long-silent", "never-heard"]
        assert fleet.count_silent(tx, since=SINCE) == 2
        rest = [one.slot for one in fleet.lines(tx, after="", limit=9, but_silent=SINCE)]
        assert rest == ["away", "empty", "fresh", "heard"]
        assert len(fleet.lines(tx, after="", limit=9)) == 6
        assert fleet.newest_heard(tx) == NOW
        found = alerts.silent(tx, at=NOW, seconds=NOW - SINCE)
    assert len(found) == 2, "the page and the alert agree"


def test_where_a_release_serves(database: Database):
    keys = {slot: enrolled(database, slot) for slot in ("b", "a", "c", "gone")}
    said = {"a": True, "b": True, "c": False, "gone": True}
    with database.write() as tx:
        for slot, serves in said.items():
            records = [state(1, NOW, phase=11, serving=serves)]
            telemetry.store(tx, [Batch(device=keys[slot].id, records=records)], at=NOW)
        devices.set_state(tx, keys["gone"].id, DeviceState.REVOKED)
    with database.read() as tx:
        assert fleet.serving(tx, RELEASE, limit=1) == (2, ["a"])
        assert fleet.serving(tx, RELEASE + 1, limit=5) == (0, [])
        own = telemetry.standings(tx, [keys["a"].id, keys["c"].id])
    assert [one.numbers["serving"] for one in own[keys["a"].id]] == [True]


def test_alerts_that_are_over_and_those_of_one_subject(database: Database):
    with database.write() as tx:
        alerts.settle(tx, "device.silent", {"x": {}, "y": {}}, at=1.0)
        alerts.settle(tx, "device.silent", {"y": {}}, at=2.0)
        alerts.settle(tx, "certificate.ends", {"x": {}}, at=3.0)
    with database.read() as tx:
        assert [one.subject for one in alerts.over(tx, limit=9)] == ["x"]
        first = alerts.over(tx, limit=1)[0].id
        assert alerts.over(tx, limit=9, before=first) == []
        assert [one.kind for one in alerts.about(tx, "x", limit=9)] == ["certificate.ends", "device.silent"]
