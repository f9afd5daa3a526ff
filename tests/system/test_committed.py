"""A box that asks for storage commitment, and promises it, dies at each crash point: nothing is forgotten.

The storm of every run (`test_storm.py`) has no commitment, its long one has; here each point is met once.
The judges are the archive's own book and the reports that the modality heard.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from appliance.core.crash import COMMITMENT_POINTS, POINTS
from appliance.core.words import DeliveryState
from appliance.demo.box import BOX_AE, Box, SiteShape, free_ports
from appliance.ledger import counts, promises
from appliance.ledger.tables import uncommitted
from appliance.services.stage import living
from dicom_node.commitment import Reference
from scripts.night.archive import Book, Telling, ask, listening
from scripts.night.site import NightBox
from tests.system.boxes import BANDS, PACS_AE, Pacs, store_all
from tests.system.dcmtk import MODALITY_AE
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
_PEERS = f"""
[[peers]]
name = "modality"
ae_title = "{MODALITY_AE}"
host = "127.0.0.1"
port = {{port}}
"""


@dataclass
class Hospital:
    """The box, its archive, and a modality that asks what became of its images."""

    box: NightBox
    pacs: Pacs
    archive: Book
    modality: Book

    def arm(self, service: str, point: str) -> None:
        """Start a service anew, which dies at a point."""
        former = until(lambda: living(self.box.config.run_dir, service), seconds=90, what=f"a {service}")
        assert former is not None
        self.box.order(service, point)
        os.kill(former, signal.SIGKILL)
        until(
            lambda: living(self.box.config.run_dir, service) not in (None, former), seconds=90, what=service
        )
        if service == "listener":
            until(self.box._ready, seconds=90, what="the listener answers")

    def died(self, point: str) -> bool:
        """Say whether a process died there."""
        lines = (self.box.folder / "deaths.jsonl").read_text(encoding="ascii").splitlines()
        return any((one := json.loads(line))["armed"] == point and one["code"] == -9 for line in lines)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("committed")
    archive, modality = Book(), Book(commits=False)
    pacs = Pacs(folder / "pacs", PACS_AE, [BOX_AE], steward=archive)
    (port,) = free_ports(1)
    shape: dict[str, Any] = {"pacs_ae": PACS_AE, "quiet_seconds": 1.0, "series_quiet_seconds": 0.5}
    site = SiteShape(
        pacs_port=pacs.start(),
        pacs_more="commitment = true",
        dicom="commit = true",
        more=_PEERS.format(port=port) + BANDS,
        **shape,
    )
    (folder / "site").mkdir()
    box = NightBox(folder / "site", site)
    box.forked = True
    stopping = threading.Event()
    telling = Telling(archive, box, PACS_AE, stopping)
    try:
        with listening(modality, MODALITY_AE, port):
            box.start()
            telling.start()
            yield Hospital(box, pacs, archive, modality)
    finally:
        stopping.set()
        box.stop()
        pacs.stop()


def committed(box: Box, study_uid: str) -> bool:
    states = {one.state for one in box.account(study_uid).deliveries}
    return states == {DeliveryState.COMMITTED}


@pytest.mark.parametrize("point", [*POINTS["courier"], *COMMITMENT_POINTS["courier"]])
def test_a_courier_that_dies_there_has_everything_committed(hospital: Hospital, point: str) -> None:
    hospital.arm("courier", point)
    study = made_up((4, 32, 32))
    store_all(hospital.box, list(study.instances()))
    until(lambda: hospital.died(point), seconds=120, what=f"a courier that died at {point}")
    if point == "commitment-asked":
        # The archive was never asked, and its report is waited for ten minutes: let them be over.
        until(lambda: _hurry(hospital.box), seconds=30, what="a request that waits for its report")
    until(lambda: committed(hospital.box, study.study_uid), seconds=120, what="all of it is committed")
    came = hospital.pacs.came_for(study.study_uid)
    contents = {(one.sop_instance_uid, one.digest) for one in came}
    assert (
        len(contents)
        == len({uid for uid, _ in contents})
        == len(hospital.box.account(study.study_uid).deliveries)
    )
    assert {uid for uid, _ in contents} <= hospital.archive.committed
    with hospital.box.ledger.read() as tx:
        assert counts.count(tx).balance == 0


def _hurry(box: Box) -> bool:
    with box.ledger.write() as tx:
        waits = (uncommitted.c.ended_at.is_(None), uncommitted.c.commitment_id.is_not(None))
        return tx.execute(sa.update(uncommitted).where(*waits).values(due_at=0.0)).rowcount > 0


@pytest.mark.parametrize("point", COMMITMENT_POINTS["listener"])
def test_a_listener_that_dies_there_keeps_its_promise(hospital: Hospital, point: str) -> None:
    hospital.arm("listener", point)
    images = list(made_up((3, 32, 32)).instances())
    store_all(hospital.box, images)
    mine = {Reference(one.sop_class_uid, one.sop_instance_uid) for one in images}
    # What the box never had: it waits a moment for it, and then reports on an association of its own.
    never = Reference(images[0].sop_class_uid, "2.25.404")
    heard = len(hospital.modality.heard)
    ask(hospital.modality, hospital.box, MODALITY_AE, [*mine, never])
    until(lambda: hospital.died(point), seconds=120, what=f"a listener that died at {point}")
    until(lambda: hospital.modality.heard[heard:], seconds=120, what="its report")
    # Told before the death and told again after it, or after it alone.
    until(lambda: _owed(hospital.box) == 0, seconds=120, what="nothing is owed any more")
    for report in hospital.modality.heard[heard:]:
        assert set(report.committed) == mine
        assert dict(report.failed) == {never: 0x0112}
    assert len({report.transaction_uid for report in hospital.modality.heard[heard:]}) == 1
    with hospital.box.ledger.read() as tx:
        assert counts.count(tx).balance == 0


def _owed(box: Box) -> int:
    with box.ledger.read() as tx:
        return promises.standing(tx).get("OWED", 0)
