"""What a real Orthanc was sent and the box never was: noticed, fetched, analysed, and nothing of it twice."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from appliance.demo.box import Box
from appliance.ledger import missing, studies
from appliance.ledger.missing import MissedState
from dicom_node.send import Outgoing
from tests.system import judging
from tests.system.boxes import (
    BANDS,
    make_box,
    processes_of,
    running,
    settled,
    spooled,
    status,
    store_all,
    why,
    words,
)
from tests.system.images import changed, files, made_up
from tests.system.orthanc import Orthanc
from tests.system.waiting import until

# Two starts of a box, and twice the time after which it looks whether a fetch brought everything.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
# An hour is 3 s here, and what is absent is left alone for 1 s.
_OFTEN = """
[reconcile]
peers = ["pacs"]
modalities = ["CT"]
every_minutes = 0.05
hours_back = 48
grace_minutes = 0.017
"""


def of_today(shape: tuple[int, int, int]) -> tuple[str, list[Outgoing]]:
    """Make up a study of today: no other is asked for."""
    study = made_up(shape)
    return study.study_uid, changed(study, StudyDate=f"{date.today():%Y%m%d}")


@pytest.mark.parametrize("way", ["get", "move"])
def test_what_never_arrived_is_fetched_and_analysed_once(tmp_path: Path, at_end: ExitStack, way: str) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    box = make_box(
        tmp_path / "site",
        pacs_port=orthanc.dicom_port,
        pacs_ae=orthanc.ae_title,
        pacs_may=("store", "query"),
        pacs_more=f'retrieve = "{way}"',
        more=BANDS + _OFTEN,
    )
    never, all_of_it = of_today((120, 128, 128))
    half, its_images = of_today((8, 48, 48))
    here, those_here = of_today((4, 48, 48))
    images = {never: all_of_it, half: its_images, here: those_here}
    orthanc.start(box_port=box.config.dicom.port, forward="false")
    at_end.callback(orthanc.stop)

    with running(box):
        store_all(box, [*its_images[::2], *those_here])
        for study_uid in (half, here):
            settled(box, study_uid)
        for number, items in enumerate(images.values()):
            for path in files(items, tmp_path / f"files-{number}"):
                orthanc.upload(path)

        until(lambda: _some_of(box, never), seconds=60, what="some of the study that never came")
        assert status(box)["missed"] >= 1
        _kill_all(box)
        box.start()
        until(lambda: _both_fetched(box), seconds=120, what="nothing is missed any more")
        assert status(box)["missed"] == 0

        for study_uid in images:
            settled(box, study_uid, seconds=120)
        _judge(box, orthanc, images, tmp_path / "results")
        # What was fetched lacks nothing at the next look, and the results that Orthanc has now are no images.
        looks = words(box)["reconcile.looked"]
        until(lambda: words(box)["reconcile.looked"] >= looks + 2, seconds=60, what="two more looks")
        with box.ledger.read() as tx:
            rows = {row.study_uid: row.state for row in missing.of_peer(tx, "pacs")}
        assert rows == {never: MissedState.FETCHED, half: MissedState.FETCHED}
        assert status(box)["balance"] == 0


def _some_of(box: Box, study_uid: str) -> bool:
    """Whether the study is missed and a part of it has come."""
    with box.ledger.read() as tx:
        rows = missing.of_study(tx, study_uid)
        come = len(studies.instances_of(tx, study_uid))
    return come >= 5 and [row.state for row in rows] == [MissedState.MISSED]


def _kill_all(box: Box) -> None:
    """End every process of the box at once, as a power cut does to processes."""
    for pid in processes_of(box):
        os.kill(pid, signal.SIGKILL)
    box.kill()
    until(lambda: not processes_of(box), seconds=20, what="no process is left")


def _both_fetched(box: Box) -> bool:
    with box.ledger.read() as tx:
        states = [row.state for row in missing.of_peer(tx, "pacs")]
    return states == [MissedState.FETCHED] * 2


def _judge(box: Box, orthanc: Orthanc, images: dict[str, list[Outgoing]], folder: Path) -> None:
    """Every image lies here once, as Orthanc had it; each content of a study has one report."""
    wanted = {item.data for items in images.values() for item in items}
    until(
        lambda: (
            {data: number for data, number in spooled(box).items() if data in wanted}
            == dict.fromkeys(wanted, 1)
        ),
        seconds=30,
        what="every image in the spool, byte for byte, once",
    )
    for study_uid, items in images.items():
        found = orthanc.results(study_uid, folder / study_uid)
        judging.judge(found)
        reports = judging.reports(found)
        former = {uid for report in reports for uid in judging.predecessors(report)}
        (newest,) = [report for report in reports if report.SOPInstanceUID not in former]
        assert _evidence(newest) == {item.sop_instance_uid for item in items}
        # The half of a study has a report of its own, and so may have what came before the kill.
        assert len({frozenset(_evidence(report)) for report in reports}) == len(reports) <= 2
        assert len(box.account(study_uid).outcomes) == 1
        assert "bands" in why(box, study_uid)
        with box.ledger.read() as tx:
            assert len(studies.instances_of(tx, study_uid)) == len(items)


def _evidence(report: Dataset) -> set[str]:
    """Return the images that a report says it was made from (PS3.3 C.17.2.3)."""
    return {
        str(sop.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
        if sop.ReferencedSOPClassUID == CTImageStorage
    }
