"""What a peer accepted is asked about, and its answer settles it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from appliance.core.clock import HeldClock
from appliance.core.limits import Limits
from appliance.core.words import DeliveryState
from appliance.ledger import commitments, deliveries, tables
from appliance.ledger.deliveries import Delivery
from appliance.ledger.engine import Ledger
from appliance.outbox.committing import Committer, take_report
from dicom_node.commit_ask import OnReport, Taken
from dicom_node.commitment import Reference, Report, Request
from tests.appliance.outbox.test_courier import PACS, Office

DEMANDING = PACS.model_copy(update={"commitment": True})
LIMITS = Limits(commitment_asks_max=3, commitment_losses_max=3)
ASKED = Taken(word="confirm.asked", status=0)
Answers = Callable[[Request], Report | None]


class Desk:
    """A courier and a committer, and an archive whose words the test chooses."""

    def __init__(self, ledger: Ledger, root: Path, clock: HeldClock) -> None:
        self.office, self.clock = Office(ledger, root), clock
        self.requests: list[Request] = []
        self.said: Taken = ASKED
        self.at_once: Answers = lambda _request: None
        self.committer = Committer(ledger, self._ask, LIMITS)

    def _ask(self, _peer: object, request: Request, on_report: OnReport) -> Taken:
        self.requests.append(request)
        report = self.at_once(request)
        assert report is None or on_report(report)
        return self.said

    def round(self) -> int:
        """Send what is due, wait a moment, and ask."""
        self.office.courier.deliver(DEMANDING)
        self.clock.advance(LIMITS.commitment_settle_seconds)
        return self.committer.turn(DEMANDING)

    def deliveries(self) -> list[Delivery]:
        with self.office.ledger.read() as tx:
            return deliveries.of_study(tx, "1.9")

    def report(self, report: Report, *, peer: str = "pacs") -> bool:
        return take_report(self.office.ledger, peer, report, LIMITS)


def whole(request: Request) -> Report:
    return Report(transaction_uid=request.transaction_uid, committed=request.references, failed={})


def lost(request: Request, *uids: str) -> Report:
    gone = [one for one in request.references if one.sop_instance_uid in uids]
    return Report(
        transaction_uid=request.transaction_uid,
        committed=[one for one in request.references if one not in gone],
        failed=dict.fromkeys(gone, 0x0112),
    )


@pytest.fixture
def desk(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Desk:
    return Desk(ledger, tmp_path / "root", clock)


def test_one_request_asks_about_all_that_was_accepted(desk: Desk) -> None:
    desk.office.fill("1.1", "1.2")
    assert desk.round() == 2
    (request,) = desk.requests
    assert {one.sop_instance_uid for one in request.references} == {"1.1", "1.2"}
    assert request.transaction_uid.startswith("2.25.")
    assert len(request.transaction_uid) <= 64
    assert desk.committer.turn(DEMANDING) == 0, "it is waited for"
    assert desk.report(whole(request))
    assert set(desk.office.states().values()) == {DeliveryState.COMMITTED}


def test_nothing_is_asked_of_a_peer_that_need_not_commit(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.office.courier.deliver(PACS)
    desk.clock.advance(60)
    assert desk.committer.turn(PACS) == 0
    assert desk.office.only().state is DeliveryState.ACCEPTED


def test_a_report_at_once_counts(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.at_once = whole
    assert desk.round() == 1
    assert desk.office.only().state is DeliveryState.COMMITTED


def test_a_request_is_known_before_it_is_made(desk: Desk) -> None:
    """Whatever dies in between: the report that comes later finds its request, and nothing is asked twice."""
    desk.office.fill("1.1")

    def dies(request: Request) -> Report | None:
        raise KeyboardInterrupt(request.transaction_uid)

    desk.at_once = dies
    with pytest.raises(KeyboardInterrupt):
        desk.round()
    anew = Committer(desk.office.ledger, desk._ask, LIMITS)
    assert anew.turn(DEMANDING) == 0
    assert desk.report(whole(desk.requests[0]))
    assert desk.office.only().state is DeliveryState.COMMITTED


def test_a_peer_that_cannot_be_asked_is_asked_for_ever_with_pauses(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.said = Taken(word="confirm.unreachable")
    desk.round()
    for _ in range(10):
        desk.clock.advance(2 * LIMITS.delivery_backoff_seconds_max)
        assert desk.committer.turn(DEMANDING) == 1
        assert desk.committer.turn(DEMANDING) == 0
    assert desk.office.only().state is DeliveryState.ACCEPTED
    desk.said, desk.at_once = ASKED, whole
    desk.clock.advance(2 * LIMITS.delivery_backoff_seconds_max)
    desk.committer.turn(DEMANDING)
    assert desk.office.only().state is DeliveryState.COMMITTED
    assert len({request.transaction_uid for request in desk.requests}) == len(desk.requests)


def test_a_peer_that_refuses_is_a_persons(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.said = Taken(word="confirm.no_context")
    desk.round()
    for _ in range(LIMITS.refusals_max):
        desk.clock.advance(2 * LIMITS.delivery_backoff_seconds_max)
        desk.committer.turn(DEMANDING)
    assert (desk.office.only().state, desk.office.only().word) == (DeliveryState.DEAD, "confirm.refused")
    assert len(desk.requests) == LIMITS.refusals_max


def test_a_report_waits_longer_each_time(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.round()
    waits = []
    for _ in range(2):
        with desk.office.ledger.read() as tx:
            began = desk.clock.now()
            while not commitments.is_overdue(tx, "pacs", at=desk.clock.now()):
                desk.clock.advance(LIMITS.commitment_report_seconds / 4)
        waits.append(desk.clock.now() - began)
        desk.committer.turn(DEMANDING)
        desk.clock.advance(LIMITS.commitment_settle_seconds)
        desk.committer.turn(DEMANDING)
    assert waits[1] >= 1.5 * waits[0]
    assert len(desk.requests) == 3


def test_a_strangers_report_changes_nothing(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.round()
    (request,) = desk.requests
    assert not desk.report(Report(transaction_uid="2.25.1", committed=request.references, failed={}))
    assert not desk.report(whole(request), peer="archive")
    assert desk.report(
        Report(transaction_uid=request.transaction_uid, committed=[Reference("1.2", "9.9")], failed={})
    )
    assert desk.office.only().state is DeliveryState.ACCEPTED


_CHILD = """
import sys
from pathlib import Path
from appliance.core.config import Peer
from appliance.ledger.engine import open_ledger
from appliance.outbox.committing import Committer
from dicom_node.commit_ask import Taken

def ask(peer, request, on_report):
    with Path(sys.argv[2]).open("a") as asked:
        asked.write(request.transaction_uid + "\\n")
    return Taken(word="confirm.asked", status=0)

peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=104, commitment=True)
sys.exit(Committer(open_ledger(sys.argv[1]), ask).turn(peer))
"""


@pytest.mark.parametrize("point", ["commitment-due", "commitment-asked", "commitment-answered"])
def test_a_courier_killed_between_acceptance_and_report_forgets_nothing(
    desk: Desk, ledger_url: str, tmp_path: Path, point: str
) -> None:
    desk.office.fill("1.1")
    desk.office.courier.deliver(DEMANDING)
    heard = tmp_path / "asked"

    def courier(**crash: str) -> int:
        command = [sys.executable, "-c", _CHILD, ledger_url, str(heard)]
        return subprocess.run(command, env={**os.environ, **crash}, check=False, timeout=60).returncode

    assert courier(READSIDE_CRASH_AT=point) == -signal.SIGKILL
    assert heard.exists() == (point == "commitment-answered")
    assert desk.office.only().state is DeliveryState.ACCEPTED
    # Started anew it asks what was not asked, and waits for what may have been.
    assert courier() == (point == "commitment-due")
    with desk.office.ledger.read() as tx:
        (row,) = tx.execute(sa.select(tables.commitments)).all()
        assert commitments.standing(tx)["pacs"].asked == 1
    if heard.exists():
        assert heard.read_text().split() == [row.transaction_uid]
    request = Request(transaction_uid=row.transaction_uid, references=[Reference("1.2", "1.1")])
    assert desk.report(whole(request)), "the report is known, whenever it comes"
    assert desk.office.only().state is DeliveryState.COMMITTED
