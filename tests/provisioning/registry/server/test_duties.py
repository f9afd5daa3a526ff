"""What only one process does is done by one, and goes over to another."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from appliance.core.clock import HeldClock
from provisioning.registry.database.engine import Database
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.duties import Duties, Duty
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.room import Room
from tests.provisioning.registry.server.test_alarms import made


def room_of(database: Database, clock: HeldClock, folder: Path) -> Room:
    return made(folder, database, clock)


def test_one_of_two_does_it_and_the_other_takes_over(database: Database, clock: HeldClock, folder: Path):
    room, done = room_of(database, clock, folder), list[str]()

    def doing(who: str) -> Duties:
        return Duties(room, [Duty(name="d", every_seconds=0.0, work=lambda _: done.append(who))])

    one, two = doing("one"), doing("two")
    for _ in range(3):
        one.turn()
        two.turn()
    assert done == ["one"] * 3
    clock.advance(DEFAULT.lease_seconds + 1)
    two.turn()
    one.turn()
    assert done == ["one"] * 3 + ["two"]


def test_a_process_that_stops_gives_the_lease_back(database: Database, clock: HeldClock, folder: Path):
    room, done = room_of(database, clock, folder), []
    one = Duties(room, [Duty(name="d", every_seconds=0.0, work=lambda _: None)])
    one.start()
    one.stop()
    two = Duties(room, [Duty(name="d", every_seconds=0.0, work=lambda _: done.append(1))])
    two.turn()
    assert done == [1]


def test_a_duty_comes_as_often_as_it_says(database: Database, clock: HeldClock, folder: Path):
    room, done = room_of(database, clock, folder), []
    duties = Duties(room, [Duty(name="d", every_seconds=60.0, work=lambda _: done.append(clock.now()))])
    for _ in range(13):
        duties.turn()
        clock.advance(10)
    assert [at - done[0] for at in done] == [0, 60, 120]


def test_a_duty_that_fails_holds_no_other_up(database: Database, clock: HeldClock, folder: Path):
    room, done = room_of(database, clock, folder), []

    def fails(_: Room) -> None:
        raise RegistryFault("the disk is full")

    def fails_too(room: Room) -> None:
        with room.database.write() as tx:
            tx.execute(sa.text("SELECT * FROM nowhere"))

    work = (fails, fails_too, lambda _: done.append(1))
    duties = Duties(room, [Duty(name=str(n), every_seconds=0.0, work=one) for n, one in enumerate(work)])
    duties.turn()
    duties.turn()
    assert done == [1, 1]
