"""What devices report is kept once, in whatever order it comes, and of enrolled devices alone."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.clock import HeldClock
from appliance.health.codes import Kind
from appliance.health.kinds import KINDS
from appliance.health.schema import Record
from provisioning.registry.database import devices, telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.tables import records
from provisioning.registry.database.telemetry import MACHINE_EVERY_SECONDS, Batch
from provisioning.registry.database.words import DeviceState
from tests.provisioning.registry.given import RELEASE, enrolled, machine, state

DAY = 86_400
T = 1_700_000_100


def sent(database: Database, device: str, *found: Record, at: float = T) -> DeviceState | None:
    with database.write() as tx:
        return telemetry.store(tx, [Batch(device=device, records=found)], at=at).get(device)


def kept(database: Database) -> list[int]:
    with database.read() as tx:
        return sorted(tx.execute(sa.select(records.c.seq)).scalars())


def newest(database: Database, device: str) -> list[tuple[int, int, dict[str, object]]]:
    with database.read() as tx:
        return [(one.kind, one.seq, dict(one.numbers)) for one in telemetry.states_of(tx, device)]


def test_the_newest_of_each_kind_and_release_stands(database: Database):
    device = enrolled(database).id
    other = Record(seq=3, at=T, kind=Kind.STATE, values={"release": 7, "phase": 1})
    sent(database, device, machine(1, T), state(2, T, phase=2), other, state(4, T, phase=3))
    assert newest(database, device) == [
        (Kind.STATE, 3, {"release": 7, "phase": 1}),
        (Kind.STATE, 4, {"release": RELEASE, "phase": 3}),
        (Kind.MACHINE, 1, {"silent": 0}),
    ]


def test_a_record_that_came_before_changes_nothing(database: Database):
    device = enrolled(database).id
    batch = [machine(1, T, silent=1), state(2, T, phase=2)]
    for _ in range(3):
        assert sent(database, device, *batch) is DeviceState.ENROLLED
    sent(database, device, machine(3, T + MACHINE_EVERY_SECONDS, silent=2), state(4, T + 60, phase=3))
    sent(database, device, *batch)
    assert kept(database) == [1, 2, 3, 4]
    assert [numbers for _, _, numbers in newest(database, device)] == [
        {"release": RELEASE, "phase": 3},
        {"silent": 2},
    ]


def test_of_the_machine_one_a_quarter_of_an_hour_stays(database: Database):
    device = enrolled(database).id
    begin = T // MACHINE_EVERY_SECONDS * MACHINE_EVERY_SECONDS
    for minute in range(31):
        sent(database, device, machine(minute + 1, begin + 60 * minute, silent=minute))
    assert kept(database) == [1, 16, 31]
    assert newest(database, device) == [(Kind.MACHINE, 31, {"silent": 30})]


def test_of_a_backlog_in_one_batch_the_same_stays(database: Database):
    device = enrolled(database).id
    begin = T // MACHINE_EVERY_SECONDS * MACHINE_EVERY_SECONDS
    sent(database, device, *[machine(minute + 1, begin + 60 * minute) for minute in range(31)])
    assert kept(database) == [1, 16, 31]


def test_of_a_standing_each_that_differs_stays(database: Database):
    device = enrolled(database).id
    for seq, phase in enumerate((1, 1, 2, 2, 2, 1), start=1):
        sent(database, device, state(seq, T + 60 * seq, phase=phase))
    assert kept(database) == [1, 3, 6]


def test_of_hours_of_work_every_one_stays(database: Database):
    device = enrolled(database).id
    for seq in range(1, 4):
        work = {"hour": 1, "release": RELEASE, "done": 5}
        sent(database, device, Record(seq=seq, at=T, kind=Kind.WORK, values=work))
    assert kept(database) == [1, 2, 3]
    with database.read() as tx:
        found = telemetry.since(tx, Kind.WORK, RELEASE, at=T)
        assert found == [(telemetry.number(device), {"hour": 1, "release": RELEASE, "done": 5})] * 3
        assert telemetry.since(tx, Kind.WORK, RELEASE + 1, at=T) == []


@pytest.mark.parametrize("became", [one for one in DeviceState if one is not DeviceState.ENROLLED])
def test_nothing_is_written_for_a_device_that_is_not_enrolled(database: Database, became: DeviceState):
    device = enrolled(database).id
    with database.write() as tx:
        devices.set_state(tx, device, became)
    assert sent(database, device, machine(1, T)) is became
    assert kept(database) == []
    assert newest(database, device) == []


def test_an_unknown_device_is_unknown_and_others_are_written(database: Database):
    known = enrolled(database).id
    with database.write() as tx:
        told = telemetry.store(
            tx,
            [Batch(device="f" * 64, records=[machine(1, T)]), Batch(device=known, records=[machine(1, T)])],
            at=T,
        )
    assert told == {known: DeviceState.ENROLLED}
    with database.read() as tx:
        assert telemetry.count(tx) == 1
        found = devices.find(tx, known)
        assert found is not None
        assert found.last_seen_at == T


def test_two_batches_of_one_device_in_one_transaction(database: Database):
    device = enrolled(database).id
    batches = [
        Batch(device=device, records=[machine(5, T, silent=5)]),
        Batch(device=device, records=[machine(4, T - 2 * MACHINE_EVERY_SECONDS, silent=4), machine(5, T)]),
    ]
    with database.write() as tx:
        telemetry.store(tx, batches, at=T)
    assert kept(database) == [4, 5]
    assert newest(database, device) == [(Kind.MACHINE, 5, {"silent": 5})]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(1, 12), min_size=1, max_size=30))
def test_in_whatever_order_they_come_the_newest_stands(database: Database, order: list[int]):
    device = enrolled(database, slot=f"slot-{order}").id
    for seq in order:
        sent(database, device, state(seq, T + seq, phase=seq))
    assert newest(database, device) == [(Kind.STATE, max(order), {"release": RELEASE, "phase": max(order)})]
    with database.read() as tx:
        own = records.c.device == telemetry.number(device)
        assert sorted(tx.execute(sa.select(records.c.seq).where(own)).scalars()) == sorted(set(order))


def test_records_age_out_by_their_kind_and_piece_by_piece(database: Database, clock: HeldClock):
    device = enrolled(database).id
    short, long = KINDS[Kind.MACHINE].keep_days, KINDS[Kind.STATE].keep_days
    assert short < long
    found = [machine(seq, T + seq * MACHINE_EVERY_SECONDS) for seq in range(1, 6)]
    sent(database, device, *found, state(6, T))
    late = T + short * DAY + 3 * MACHINE_EVERY_SECONDS
    with database.write() as tx:
        assert telemetry.age_out(tx, at=late, limit=1) == 1
    with database.write() as tx:
        assert telemetry.age_out(tx, at=late, limit=10) == 1
    assert kept(database) == [3, 4, 5, 6]
    with database.write() as tx:
        assert telemetry.age_out(tx, at=T + long * DAY + 1, limit=10) == 4
    # What is newest stands for as long as the device does.
    assert [seq for _, seq, _ in newest(database, device)] == [6, 5]


def test_a_history_is_newest_first_and_bounded(database: Database):
    device = enrolled(database).id
    sent(database, device, *[state(seq, T + seq, phase=seq) for seq in range(1, 6)])
    with database.read() as tx:
        found = telemetry.history(tx, device, Kind.STATE, since=T + 2, limit=3)
    assert [(at - T, numbers["phase"]) for at, numbers in found] == [(5, 5), (4, 4), (3, 3)]
