"""What peers asked for is told them over the wire, whoever dies or is away in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.core.limits import Limits
from appliance.demo.box import free_ports
from appliance.ledger import promises
from appliance.ledger.engine import Ledger
from appliance.services.promising import Promising, is_spoken
from appliance.services.stage import Stage
from dicom_node.commitment import PUSH_MODEL, Reference, Report, Request, Status, Unsound, read_report
from dicom_node.limits import Limits as WireLimits
from dicom_node.values import Peer
from tests.appliance.ledger import given
from tests.dicom_node.samples import CT, EXPLICIT, serving

LIMITS = Limits(poll_seconds=0.05, promises_waiting_max=2, promise_tries_max=2, drain_seconds=10.0)
UIDS = [f"{given.SERIES}.{number}" for number in (1, 2, 3)]
ASKED = Request(transaction_uid="2.25.7", references=[Reference(CT, uid) for uid in UIDS])
PACS = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=0)


def site(root: Path, *, port: int | None = None, commit: bool = True, commitment: bool = False) -> Config:
    address: dict[str, Any] = {} if port is None else {"host": "127.0.0.1", "port": port}
    peer = {"name": "pacs", "ae_title": "PACS", "commitment": commitment, **address}
    return parse(
        {
            "site": {"name": "Test"},
            "dicom": {"commit": commit},
            "storage": {"root": str(root)},
            "peers": [peer, {"name": "other", "ae_title": "OTHER"}],
        }
    )


class Ear:
    """A peer that hears reports, with the statuses that a test chooses."""

    def __init__(self, *statuses: int) -> None:
        self.reports: list[Report] = []
        self._statuses = list(statuses)

    def __call__(self, event: evt.Event) -> tuple[int, None]:
        information = event.request.EventInformation  # type: ignore[union-attr]
        self.reports.append(read_report(information, str(event.context.transfer_syntax), WireLimits()))
        return (self._statuses.pop(0) if self._statuses else 0), None

    @contextmanager
    def listening(self) -> Iterator[Peer]:
        entity = AE("PACS")
        entity.add_supported_context(PUSH_MODEL, [EXPLICIT], scu_role=True, scp_role=True)
        with serving(entity, (evt.EVT_N_EVENT_REPORT, self)) as peer:
            yield peer


@pytest.fixture
def steward(ledger: Ledger, tmp_path: Path) -> Iterator[Callable[..., Promising]]:
    stages: list[tuple[Stage, Promising]] = []

    def make(**shape: Any) -> Promising:
        stage = Stage("listener", site(tmp_path, **shape), ledger, LIMITS)
        stages.append((stage, Promising(stage, stage.config)))
        return stages[-1][1]

    yield make
    for stage, made in stages:
        stage.stop()
        made.join()
        assert not stage.faulty.is_set()


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def standing(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as tx:
        return promises.standing(tx)


def kept(ledger: Ledger, *numbers: int) -> None:
    with ledger.write() as tx:
        given.kept(tx, *numbers, at=ledger.clock.now())


def test_a_report_is_told_over_an_association_of_its_own(
    ledger: Ledger, clock: HeldClock, steward: Callable[..., Promising]
) -> None:
    ear = Ear()
    with ear.listening() as peer:
        made = steward(port=peer.port)
        made.promise(PACS, ASKED)
        kept(ledger, 1, 2)
        made.start()
        time.sleep(4 * LIMITS.poll_seconds)
        assert ear.reports == [], "the association of the request has its time first"
        clock.advance(LIMITS.promise_same_seconds)
        until(lambda: standing(ledger) == {"REPORTED": 1})
    (report,) = ear.reports
    assert [one.sop_instance_uid for one in report.committed] == UIDS[:2]
    assert report.failed == {Reference(CT, UIDS[2]): 0x0112}


def test_a_report_waits_for_rows_that_may_follow(
    ledger: Ledger, clock: HeldClock, steward: Callable[..., Promising]
) -> None:
    made = steward()
    made.promise(PACS, ASKED)
    kept(ledger, 1, 2)
    assert made.report_for(PACS, "2.25.7") is None
    kept(ledger, 3)
    report = made.report_for(PACS, "2.25.7")
    assert report is not None
    assert not report.failed
    made.told(PACS, report)
    assert made.report_for(PACS, "2.25.7") is None, "it is owed no more"
    made.promise(PACS, Request(transaction_uid="2.25.8", references=[Reference(CT, "2.25.99")]))
    clock.advance(LIMITS.promise_rows_seconds)
    report = made.report_for(PACS, "2.25.8")
    assert report is not None
    assert report.event_type == 2


def test_a_peer_that_is_away_is_told_later_and_given_up_in_the_end(
    ledger: Ledger, clock: HeldClock, steward: Callable[..., Promising]
) -> None:
    (port,) = free_ports(1)
    made = steward(port=port)
    made.promise(PACS, ASKED)
    clock.advance(LIMITS.promise_same_seconds)
    made.start()
    until(lambda: _tries(ledger) == 1)
    clock.advance(2 * LIMITS.promise_backoff_seconds_max)
    until(lambda: standing(ledger) == {"GIVEN_UP": 1})
    made.promise(PACS, ASKED)
    assert standing(ledger) == {"OWED": 1}, "asked anew, it is owed anew"


def _tries(ledger: Ledger) -> int:
    with ledger.read() as tx:
        found = promises.find(tx, "pacs", "2.25.7")
    assert found is not None
    return found.tries


def test_a_peer_that_does_not_take_a_report_gets_it_again(
    ledger: Ledger, clock: HeldClock, steward: Callable[..., Promising]
) -> None:
    ear = Ear(0x0110)
    with ear.listening() as peer:
        made = steward(port=peer.port)
        made.promise(PACS, ASKED)
        clock.advance(LIMITS.promise_same_seconds)
        made.start()
        until(lambda: _tries(ledger) == 1)
        clock.advance(2 * LIMITS.promise_backoff_seconds_max)
        until(lambda: standing(ledger) == {"REPORTED": 1})
    assert len(ear.reports) == 2


def test_a_peer_without_an_address_must_ask_again(
    ledger: Ledger, clock: HeldClock, steward: Callable[..., Promising]
) -> None:
    made = steward()
    made.promise(PACS, ASKED)
    clock.advance(LIMITS.promise_same_seconds)
    made.start()
    until(lambda: standing(ledger) == {"GIVEN_UP": 1})


def test_requests_that_cannot_be_taken(steward: Callable[..., Promising]) -> None:
    made = steward()
    made.promise(PACS, ASKED)
    made.promise(PACS, ASKED)
    for number, status in ((7, Status.DUPLICATE_INVOCATION), (8, None), (9, Status.RESOURCE_LIMITATION)):
        request = Request(transaction_uid=f"2.25.{number}", references=[Reference(CT, "2.25.1")])
        if status is None:
            made.promise(PACS, request)
            continue
        with pytest.raises(Unsound) as fault:
            made.promise(PACS, request)
        assert fault.value.status == status


def test_a_report_of_a_peer_that_nothing_is_demanded_of_answers_nothing(
    steward: Callable[..., Promising],
) -> None:
    report = Report(transaction_uid="2.25.7", committed=[Reference(CT, UIDS[0])], failed={})
    assert not steward().reported(PACS, report)
    assert not steward(port=104, commitment=True).reported(PACS, report), "never asked"


def test_the_listener_speaks_of_commitment_only_where_it_is_wanted(tmp_path: Path) -> None:
    assert not is_spoken(site(tmp_path, commit=False))
    assert is_spoken(site(tmp_path))
    assert is_spoken(site(tmp_path, commit=False, port=104, commitment=True))


_CHILD = """
import sys
from pathlib import Path
from appliance.ledger.engine import open_ledger
from appliance.services.promising import Promising
from appliance.services.stage import Stage
from tests.appliance.services.test_promising import ASKED, PACS, LIMITS, site

url, root, port, todo = sys.argv[1:]
ledger = open_ledger(url)
stage = Stage("listener", site(Path(root), port=int(port)), ledger, LIMITS)
made = Promising(stage, stage.config)
if todo == "promise":
    made.promise(PACS, ASKED)
else:
    made.start()
    made.join()
"""


@pytest.mark.parametrize("point", ["promise-kept", "promise-told"])
def test_a_listener_killed_between_request_and_report_still_owes_it(
    ledger: Ledger,
    ledger_url: str,
    clock: HeldClock,
    tmp_path: Path,
    steward: Callable[..., Promising],
    point: str,
) -> None:
    ear = Ear()
    with ear.listening() as peer:

        def listener(todo: str, **crash: str) -> int:
            command = [sys.executable, "-c", _CHILD, ledger_url, str(tmp_path), str(peer.port), todo]
            return subprocess.run(command, env={**os.environ, **crash}, check=False, timeout=60).returncode

        if point == "promise-kept":
            assert listener("promise", READSIDE_CRASH_AT=point) == -signal.SIGKILL
        else:
            steward(port=peer.port).promise(PACS, ASKED)
            assert listener("tell", READSIDE_CRASH_AT=point) == -signal.SIGKILL
        assert standing(ledger) == {"OWED": 1}
        made = steward(port=peer.port)
        clock.seconds = time.time() + 3600
        made.start()
        until(lambda: standing(ledger) == {"REPORTED": 1})
    assert len(ear.reports) == (1 if point == "promise-kept" else 2), "a report twice does no harm"
