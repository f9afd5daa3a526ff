"""The box looks at itself: what it puts in, what it raises, and whom it tells."""

import json

import pytest

from appliance.core.alarming import AlarmKind
from appliance.core.config import parse
from appliance.health.codes import Failure, Kind
from appliance.health.limits import LookLimits
from appliance.health.outbox import Outbox, folder_of
from appliance.health.reporter import Outside, Reporter, Standing
from appliance.ledger import alarms, health_tables, hours, services
from tests.appliance.ledger import given

DIGEST = "sha256:11"
HTTP = {"url": "http://127.0.0.1:1", "device": "box-1"}


def number_of(digest):
    return int(digest.removeprefix("sha256:")[:12], 16)


@pytest.fixture
def make(ledger, clock, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    def _make(outside=Outside, limits=None, **sections):
        site = {"site": {"name": "St Elsewhere"}, "storage": {"root": str(tmp_path)}, "registry": HTTP}
        config = parse(site | sections)
        return Reporter(
            ledger=ledger,
            config=config,
            outbox=Outbox(folder=folder_of(tmp_path), clock=clock),
            outside=outside,
            number_of=number_of,
            # The disk of a test machine may be full or not.
            limits=limits or LookLimits(disk_percent=0.0, hours_kept=48),
        )

    return _make


def raised(ledger):
    with ledger.read() as tx:
        return {(AlarmKind(one.kind), one.subject) for one in alarms.current(tx)}


def of_kind(reporter, kind):
    return [one.values for one in reporter.outbox.waiting(999) if one.kind is kind]


def test_a_look_is_a_record_of_the_machine_and_one_of_each_release(make, ledger, clock):
    given.ended(ledger, at=clock.now())
    clock.advance(60)
    standing = Standing(digest=DIGEST, phase=11, reason=0, serving=True, since=clock.now() - 3600)
    reporter = make(lambda: Outside(standings=(standing,)))
    reporter.turn()
    (machine,) = of_kind(reporter, Kind.MACHINE)
    assert (machine["balance"], machine["jobs_waiting"], machine["sends_waiting"]) == (0, 0, -1)
    assert machine["gpu"] == 0
    (state,) = of_kind(reporter, Kind.STATE)
    assert (state["release"], state["phase"], state["serving"]) == (0x11, 11, True)
    assert state["studies"] == 0
    reporter.turn()
    assert len(of_kind(reporter, Kind.STATE)) == 1
    assert len(of_kind(reporter, Kind.MACHINE)) == 2


def test_a_release_that_moves_is_told_at_once(make, clock):
    phases = iter([4, 4, 9])
    reporter = make(
        lambda: Outside(
            standings=(Standing(digest=DIGEST, phase=next(phases), reason=3, serving=False, since=None),)
        )
    )
    for _ in range(3):
        reporter.turn()
        clock.advance(60)
    assert {one["phase"] for one in of_kind(reporter, Kind.STATE)} == {4, 9}
    assert len(of_kind(reporter, Kind.STATE)) == 2


def test_an_hour_is_told_once_it_is_over(make, ledger, clock):
    clock.seconds = clock.seconds // 3600 * 3600 + 10
    reporter = make()
    reporter.turn()
    given.ended(ledger, at=clock.now())
    reporter.turn()
    assert of_kind(reporter, Kind.WORK) == []
    clock.advance(3600 + 200)
    reporter.turn()
    reporter.turn()
    (work,) = of_kind(reporter, Kind.WORK)
    assert (work["release"], work["done"], work["positives"]) == (0x11, -1, 0)
    assert sum(work["failed"]) == 0
    assert len(work["failed"]) == len(Failure)


def test_off_puts_nothing_in_and_drops_what_waited(make, ledger, clock):
    make().turn()
    off = make(registry={**HTTP, "telemetry": "off"})
    assert off.outbox.backlog() == 1
    off.turn()
    assert off.outbox.backlog() == 0
    clock.advance(7200)
    off.turn()
    assert off.outbox.backlog() == 0


def test_health_alone_tells_nothing_of_inputs(make, ledger, clock):
    reporter = make()
    given.ended(ledger, at=clock.now())
    clock.advance(2 * 86_400)
    reporter.turn()
    assert of_kind(reporter, Kind.INPUT) == []


def test_what_is_wrong_is_raised_told_and_ends(make, ledger, clock):
    days = {"the registry": 3.0}
    reporter = make(
        lambda: Outside(certificates=days, lists={"image": 9.0}),
        alerts={"webhook": "http://127.0.0.1:1/hook"},
    )
    with ledger.write() as tx:
        services.started(tx, "courier", pid=1, at=clock.now() - 600, detail={})
    reporter.turn()
    # A box that was off: whoever was silent before it came up may be about to be heard.
    assert raised(ledger) == {(AlarmKind.CERTIFICATE_ENDS, "the registry")}
    clock.advance(121)
    reporter.turn()
    assert raised(ledger) == {
        (AlarmKind.CERTIFICATE_ENDS, "the registry"),
        (AlarmKind.SERVICE_SILENT, "courier"),
    }
    bits = of_kind(reporter, Kind.MACHINE)[0]["alarms"]
    assert bits == 1 << AlarmKind.CERTIFICATE_ENDS | 1 << AlarmKind.SERVICE_SILENT
    said = [json.loads(one.body) for one in reporter.outbox.notices(9)]
    assert {(one["alarm"], one["state"]) for one in said} == {
        ("certificate_ends", "raised"),
        ("service_silent", "raised"),
    }
    assert "ends in 3 days" in next(one["text"] for one in said if one["alarm"] == "certificate_ends")
    days["the registry"] = 300.0
    clock.advance(60)
    reporter.turn()
    assert raised(ledger) == {(AlarmKind.SERVICE_SILENT, "courier")}
    assert json.loads(reporter.outbox.notices(9)[-1].body)["state"] == "ended"
    told = len(reporter.outbox.notices(99))
    clock.advance(25 * 3600)
    reporter.turn()
    assert json.loads(reporter.outbox.notices(99)[-1].body)["state"] == "goes on"
    assert len(reporter.outbox.notices(99)) == told + 1


def test_nobody_is_told_where_nobody_was_named(make, ledger):
    reporter = make(lambda: Outside(certificates={"DICOM": -1.0}))
    reporter.turn()
    assert raised(ledger) == {(AlarmKind.CERTIFICATE_ENDS, "DICOM")}
    assert reporter.outbox.notices(9) == []


def test_ct_that_always_came_is_missed(make, ledger, clock):
    last = int(clock.now() // 3600) - 1
    with ledger.write() as tx:
        hours.count_arrivals(tx, last - 5 * 168, last)
        for week in range(5):
            row = {"hour": last - week * 168, "modality": "CT", "series": 8 if week else 0}
            tx.execute(health_tables.arrival_hours.insert().values(**row))
    reporter = make(limits=LookLimits(disk_percent=0.0))
    reporter.turn()
    assert raised(ledger) == {(AlarmKind.NO_ARRIVALS, "CT")}
    with ledger.write() as tx:
        given.kept(tx, 1, at=clock.now())
    clock.advance(601)
    reporter.turn()
    assert raised(ledger) == set()


def test_a_clock_that_was_ahead_is_counted_anew(make, ledger, clock):
    reporter = make()
    reporter.turn()
    clock.advance(40 * 3600)
    reporter.turn()
    clock.advance(-40 * 3600)
    reporter.turn()
    with ledger.read() as tx:
        assert hours.counted_until(tx) <= clock.now() // 3600
