"""A batch is taken from the device that signed it, whole, once, and refused with a word otherwise."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.core.clock import HeldClock
from appliance.health.limits import BATCH
from appliance.health.schema import encode
from appliance.sync.signing import sign
from provisioning.registry.database import devices, telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server.device import PATH
from provisioning.registry.server.intake import Intake
from tests.provisioning.registry.given import SECONDS_MAX, Served, enrolled, key, machine, state


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_batch_is_acknowledged_when_it_is_there(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    answer = served.batch(device, [machine(4, clock.now()), state(5, clock.now())], at=clock.now())
    assert (answer.status_code, answer.json()) == (
        200,
        {"acknowledged": 5, "image": 7, "director": 9, "now": int(clock.now())},
    )
    with database.read() as tx:
        assert telemetry.count(tx) == 2
        assert [one.seq for one in telemetry.states_of(tx, device.id)] == [5, 4]


def test_an_empty_batch_says_that_the_device_lives(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    assert served.batch(device, [], at=clock.now()).json()["acknowledged"] == 0
    with database.read() as tx:
        found = devices.find(tx, device.id)
        assert found is not None
        assert found.last_seen_at == clock.now()


def test_who_was_never_enrolled_is_unknown(served: Served, clock: HeldClock):
    answer = served.batch(key(), [machine(1, clock.now())], at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (401, "unknown")


@pytest.mark.parametrize("became", [DeviceState.REVOKED, DeviceState.REPLACED, DeviceState.DECOMMISSIONED])
def test_who_was_put_out_is_told_so_at_once(
    served: Served, database: Database, clock: HeldClock, became: DeviceState
):
    device = enrolled(database)
    assert served.batch(device, [machine(1, clock.now())], at=clock.now()).status_code == 200
    with database.write() as tx:
        devices.set_state(tx, device.id, became)
    answer = served.batch(device, [machine(2, clock.now())], at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (403, became.value)
    with database.read() as tx:
        assert telemetry.count(tx) == 1


def test_a_device_that_is_enrolled_while_all_runs_is_known(
    served: Served, database: Database, clock: HeldClock
):
    device = enrolled(database, "later")
    assert served.batch(device, [machine(1, clock.now())], at=clock.now()).status_code == 200


def test_another_keys_signature_is_refused(served: Served, database: Database, clock: HeldClock):
    one, other = enrolled(database, "a"), enrolled(database, "b")
    body = encode([machine(1, clock.now())])
    signed = sign(one, method="POST", path=PATH, body=body, at=clock.now())
    forged = {**signed, "Signature-Input": signed["Signature-Input"].replace(one.id, other.id)}
    answer = served.post(PATH, content=body, headers=forged)
    assert (answer.status_code, answer.json()["reason"]) == (401, "signature")


def test_a_changed_body_is_refused(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    signed = sign(device, method="POST", path=PATH, body=encode([]), at=clock.now())
    answer = served.post(PATH, content=encode([machine(1, clock.now())]), headers=signed)
    assert (answer.status_code, answer.json()["reason"]) == (401, "digest")


def test_a_clock_that_is_off_is_told_the_time(served: Served, database: Database, clock: HeldClock):
    answer = served.batch(enrolled(database), [], at=clock.now() - 301)
    assert (answer.status_code, answer.json()["reason"]) == (401, "clock")
    assert answer.json()["now"] == int(clock.now())


def test_an_unsigned_request_is_refused(served: Served):
    answer = served.post(PATH, content=encode([]))
    assert (answer.status_code, answer.json()["reason"]) == (401, "missing")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no gzip",
        gzip.compress(b'[1,[[1,1700000000,3,{"patient":"DOE^JOHN"}]]]'),
        gzip.compress(b'[1,[[1,1700000000,3,{"silent":"DOE^JOHN"}]]]'),
        gzip.compress(b" " * (BATCH.plain_bytes_max + 1)),
    ],
    ids=["empty", "no gzip", "unknown field", "a text", "a bomb"],
)
def test_what_is_not_in_the_schema_is_refused_and_not_repeated(
    served: Served, database: Database, clock: HeldClock, body: bytes
):
    answer = served.batch(enrolled(database), body, at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (422, "schema")
    assert "DOE" not in answer.text
    assert "patient" not in answer.text
    with database.read() as tx:
        assert telemetry.count(tx) == 0


def test_a_body_above_the_bound_is_not_read(served: Served, database: Database, clock: HeldClock):
    answer = served.batch(enrolled(database), b"x" * (BATCH.batch_bytes_max + 1), at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Keep every other writer of the database waiting."""
    with database.write():
        yield


def test_what_waits_is_written_together(served: Served, database: Database, clock: HeldClock):
    own = [enrolled(database, f"box-{one}") for one in range(12)]
    intake: Intake = served.app.state.parts.intake
    answers: list[int] = []

    def send(device: int) -> None:
        answers.append(served.batch(own[device], [machine(1, clock.now())], at=clock.now()).status_code)

    threads = [threading.Thread(target=send, args=(one,)) for one in range(12)]
    with held(database):
        for thread in threads:
            thread.start()
        until = threading.Event()
        for _ in range(SECONDS_MAX * 100):
            if intake._records_in == 12:
                break
            until.wait(0.01)
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert answers == [200] * 12
    assert intake.counts.batches == 12
    assert intake.counts.transactions <= 2


def test_above_the_bound_a_device_is_told_to_come_later(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    intake: Intake = served.app.state.parts.intake
    intake.limits = type(intake.limits)(batches_waiting_max=0, retry_after_seconds=17)
    answer = served.batch(device, [machine(1, clock.now())], at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "60"


def test_a_database_that_fails_is_no_acknowledgement(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    assert served.batch(device, [], at=clock.now()).status_code == 200
    with database.write() as tx:
        tx.exec_driver_sql("ALTER TABLE records RENAME TO elsewhere")
    answer = served.batch(device, [machine(1, clock.now())], at=clock.now())
    assert (answer.status_code, answer.json()["reason"]) == (503, "overloaded")
    with database.write() as tx:
        tx.exec_driver_sql("ALTER TABLE elsewhere RENAME TO records")
    assert served.batch(device, [machine(1, clock.now())], at=clock.now()).json()["acknowledged"] == 1
