"""Each PACS is asked over the wire to commit what it accepted, and one that need not any more is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, build_context, evt
from pynetdicom.dsutils import decode
from structlog.testing import capture_logs

from appliance.core.config import Config, parse
from appliance.core.limits import Limits
from appliance.core.words import DeliveryState
from appliance.ledger import commitments, deliveries
from appliance.ledger.engine import Ledger
from appliance.services.committing import Committing
from appliance.services.stage import Stage
from dicom_node.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    Report,
    encode_report,
    read_request,
)
from dicom_node.limits import Limits as WireLimits
from dicom_node.values import Peer
from tests.appliance.ledger import given
from tests.dicom_node.samples import EXPLICIT, serving

LIMITS = Limits(poll_seconds=0.05, drain_seconds=20.0)


def site(root: Path, port: int, *, commitment: bool = True) -> Config:
    peer = {
        "name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "commitment": commitment,
    }  # fmt: skip
    return parse({"site": {"name": "Test"}, "storage": {"root": str(root)}, "peers": [peer]})


@contextmanager
def archive(lost: set[str]) -> Iterator[Peer]:
    """An archive that reports at once, and does not have some of what it took."""

    def action(event: evt.Event) -> tuple[int, None]:
        asked = read_request(event.request.ActionInformation, EXPLICIT, WireLimits())  # type: ignore[union-attr]
        gone = [one for one in asked.references if one.sop_instance_uid in lost]
        there = [one for one in asked.references if one not in gone]
        report = Report(
            transaction_uid=asked.transaction_uid,
            committed=there,
            failed=dict.fromkeys(gone, 0x0112) if gone else {},
        )
        dataset = decode(encode_report(report, EXPLICIT), False, True)
        status, _ = event.assoc.send_n_event_report(
            dataset, report.event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        assert status.Status == 0
        return 0, None

    entity = AE("PACS")
    entity.supported_contexts = [build_context(PUSH_MODEL, [EXPLICIT])]
    with serving(entity, (evt.EVT_N_ACTION, action)) as peer:
        yield peer


def accepted(ledger: Ledger) -> list[deliveries.Parcel]:
    """Two objects that the PACS accepted and has to commit."""
    at = ledger.clock.now()
    given.ended(ledger, at=at)
    taken = given.parcels(ledger, at=at)
    with ledger.write() as tx:
        for parcel in taken:
            deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=at)
            commitments.want(tx, parcel.id, "pacs", due_at=at)
    return taken


def states(ledger: Ledger) -> dict[str, DeliveryState]:
    with ledger.read() as tx:
        return {d.output: d.state for d in deliveries.of_study(tx, given.STUDY) if d.peer == "pacs"}


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def committing(ledger: Ledger, config: Config) -> Iterator[Stage]:
    stage = Stage("courier", config, ledger, LIMITS)
    made = Committing(stage, config)
    made.start()
    try:
        yield stage
    finally:
        stage.stop()
        made.join()


def test_what_is_accepted_is_asked_about_and_settled(ledger: Ledger, tmp_path: Path) -> None:
    taken = accepted(ledger)
    lost = {one.item.sop_instance_uid for one in taken if one.item.output == "sr"}
    with archive(lost) as peer, committing(ledger, site(tmp_path, peer.port)) as stage:
        until(lambda: DeliveryState.ACCEPTED not in states(ledger).values())
        assert not stage.faulty.is_set()
    assert states(ledger) == {"sr": DeliveryState.LATER, "sc": DeliveryState.COMMITTED}


def test_a_peer_that_need_not_commit_any_more_is_not_asked(ledger: Ledger, tmp_path: Path) -> None:
    accepted(ledger)
    with (
        capture_logs() as logs,
        archive(set()) as peer,
        committing(ledger, site(tmp_path, peer.port, commitment=False)),
    ):
        time.sleep(4 * LIMITS.poll_seconds)
    assert set(states(ledger).values()) == {DeliveryState.ACCEPTED}
    with ledger.read() as tx:
        assert commitments.standing(tx) == {}
    assert [line["objects"] for line in logs if line["event"] == "confirm.not_wanted"] == [2]


def test_an_error_that_nobody_foresaw_starts_the_service_anew(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("a thread that dies silently would ask no more")

    monkeypatch.setattr(commitments, "is_overdue", fails)
    with committing(ledger, site(tmp_path, 1)) as stage:
        assert stage.stopping.wait(10)
        assert stage.faulty.is_set()
