"""A worklist drives the box: a real Orthanc holds the study, and a strict stand-in holds the workitem."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.core.crash import VARIABLE, WORKLIST_POINTS
from appliance.demo.box import Box
from appliance.demo.study import MadeStudy
from tests.system.boxes import make_box, running, service_pid, status, why
from tests.system.images import files, made_up
from tests.system.orthanc import OTHERS_ONLY, Orthanc
from tests.system.waiting import until
from tests.worklist import Held, Origin, input_item, serving

pytestmark = pytest.mark.timeout(300)
_SITE = """
[[peers]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {port}
may = ["store", "query"]
outputs = ["sr", "sc"]
retrieve = "{way}"

[[routes]]
name = "bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["archive"]

[worklist]
url = "{url}"
poll_seconds = 1
items = [{{ code = "CT-AI^99HOSP", route = "bands" }}]
"""
_FINAL = ("COMPLETED", "CANCELED")


class Site:
    """Orthanc, a worklist, and a box between them that is told to work by that worklist alone."""

    def __init__(self, folder: Path, at_end: ExitStack, *, way: str) -> None:
        self.origin = Origin()
        url = at_end.enter_context(serving(self.origin))
        self.orthanc = Orthanc(folder / "orthanc")
        self.folder, self._files = folder, 0
        more = _SITE.format(port=self.orthanc.dicom_port, way=way, url=url)
        self.box = make_box(folder / "site", pacs_port=1, more=more)
        self.orthanc.start(box_port=self.box.config.dicom.port, forward=f"false and {OTHERS_ONLY}")
        at_end.callback(self.orthanc.stop)

    def archived(self, study: MadeStudy) -> MadeStudy:
        for path in files(study.instances(), self.folder / f"files-{study.study_uid}"):
            self.orthanc.upload(path)
        return study

    def wait(self, held: Held) -> None:
        until(lambda: held.state in _FINAL, seconds=120, what="the workitem to end")


def _told(held: Held) -> set[tuple[str, str, str]]:
    """Where the workitem says that results are: AE title, study, instance."""
    (done,) = held.dataset.UnifiedProcedureStepPerformedProcedureSequence
    return {
        (one.DICOMRetrievalSequence[0].RetrieveAETitle, one.StudyInstanceUID, item.ReferencedSOPInstanceUID)
        for one in done.OutputInformationSequence
        for item in one.ReferencedSOPSequence
    }


def _results_at(site: Site, study: MadeStudy) -> set[tuple[str, str, str]]:
    images = {item.sop_instance_uid for item in study.instances()}
    there = site.orthanc.ask("/tools/find", _query(study.study_uid))
    uids = {row["MainDicomTags"]["SOPInstanceUID"] for row in there}
    return {("ORTHANC", study.study_uid, uid) for uid in uids - images}


def _query(study_uid: str) -> bytes:
    return (
        f'{{"Level": "Instance", "Query": {{"StudyInstanceUID": "{study_uid}"}}, "Expand": true}}'
    ).encode()


@pytest.mark.parametrize("way", ["move", pytest.param("get", marks=pytest.mark.long)])
def test_a_workitem_is_done_and_says_where_its_results_are(
    tmp_path: Path, at_end: ExitStack, way: str
) -> None:
    site = Site(tmp_path, at_end, way=way)
    wanted, too_small = site.archived(made_up()), site.archived(made_up((2, 32, 32)))
    done = site.origin.schedule("1.9.1", input_item(wanted.study_uid, ae_title="ORTHANC"))
    unfit = site.origin.schedule("1.9.2", input_item(too_small.study_uid, ae_title="ORTHANC"))
    absent = site.origin.schedule("1.9.3", input_item("2.25.404", ae_title="ORTHANC"))
    others = site.origin.schedule("1.9.4", input_item(wanted.study_uid, ae_title="ORTHANC"), code="MR-AI")

    with running(site.box):
        for held in (done, unfit, absent):
            site.wait(held)
        assert done.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
        assert _told(done) == _results_at(site, wanted)
        assert len(_told(done)) >= 2
        for held, words in ((unfit, "No series of the study"), (absent, "not where the input is said")):
            (said,) = held.dataset.ProcedureStepProgressInformationSequence
            assert held.states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
            assert words in said.ReasonForCancellation
        assert others.states == ["SCHEDULED"]

        told = status(site.box)
        assert told["worklist"]["workitems"] == {"CANCELED": 2, "COMPLETED": 1}
        assert told["balance"] == 0
        assert "A workitem of the worklist asked for this study" in why(site.box, wanted.study_uid)
    assert "SECRET" not in site.box.log_path.read_text(encoding="utf-8")


def _killed_at(box: Box, point: str) -> bool:
    return f"{point}" in box.log_path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.long
@pytest.mark.parametrize("point", WORKLIST_POINTS["conductor"])
def test_a_conductor_that_dies_on_the_way_ends_the_workitem_once(
    tmp_path: Path, at_end: ExitStack, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, at_end, way="move")
    study = site.archived(made_up())
    held = site.origin.schedule("1.9.1", input_item(study.study_uid, ae_title="ORTHANC"))
    monkeypatch.setenv(VARIABLE, point)
    site.box.start()
    at_end.callback(site.box.stop)
    until(lambda: _deaths(site.box) >= 1, seconds=120, what=f"the conductor to die at {point}")
    site.box.stop()
    monkeypatch.delenv(VARIABLE)
    with running(site.box):
        site.wait(held)
        assert held.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
        assert _told(held) == _results_at(site, study)


def _deaths(box: Box) -> int:
    return box.log_path.read_text(encoding="utf-8").count("service.died") if box.log_path.exists() else 0


@pytest.mark.long
def test_a_conductor_that_is_killed_again_and_again_ends_the_workitem_once(
    tmp_path: Path, at_end: ExitStack
) -> None:
    site = Site(tmp_path, at_end, way="move")
    study = site.archived(made_up())
    held = site.origin.schedule("1.9.1", input_item(study.study_uid, ae_title="ORTHANC"))
    with running(site.box):
        for _ in range(6):
            until(lambda: service_pid(site.box, "conductor"), seconds=60, what="a conductor")
            pid = service_pid(site.box, "conductor")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        site.wait(held)
        assert held.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
        assert _told(held) == _results_at(site, study)
