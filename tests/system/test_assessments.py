"""What a reader makes of a result, stored back by DCMTK; and the box's own results, forwarded to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from appliance.demo.box import Box
from appliance.ledger import assessments, events, jobs, studies
from appliance.ledger.assessments import Judgement
from tests.appliance.assemble import papers
from tests.system.boxes import (
    PACS_AE,
    log_of,
    make_box,
    readside,
    running,
    service_pid,
    settled,
    status,
    store_all,
)
from tests.system.dcmtk import StoreScp, store_by_storescu
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
_SECONDS = 60


def stored(folder: Path, paper: Dataset, name: str) -> Path:
    """Write a document as a file that DCMTK sends."""
    paper.file_meta = FileMetaDataset()
    paper.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    paper.save_as(folder / name, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return folder / name


def send(box: Box, *paths: Path) -> None:
    """Send files as a workstation does; the box must acknowledge each."""
    said = store_by_storescu(box.config.dicom.port, paths, "-R")
    answers = said.stdout + said.stderr
    assert (said.returncode, answers.count("(Success)")) == (0, len(paths)), answers


def judged(box: Box, study_uid: str) -> list[Judgement]:
    with box.ledger.read() as tx:
        return [each.judgement for each in assessments.of_study(tx, study_uid) if not each.tracking_uid]


def standing(box: Box, study_uid: str) -> tuple[object, ...]:
    """What must not move because of what comes back."""
    with box.ledger.read() as tx:
        study = studies.find(tx, study_uid)
        assert study is not None
        ids = [job.id for job in jobs.of_study(tx, study_uid)]
        words = [event.word for event in events.of_study(tx, study_uid)]
    return ids, study.content_digest, study.ready_at, study.last_at, words.count("route.decided")


def test_results_and_assessments_that_come_back_change_nothing_but_what_is_said(tmp_path: Path) -> None:
    destination = StoreScp(tmp_path / "destination", PACS_AE)
    destination.start()
    try:
        with running(make_box(tmp_path / "site", pacs_port=destination.port)) as box:
            _come_back(box, destination, tmp_path)
    finally:
        destination.stop()


def _come_back(box: Box, destination: StoreScp, folder: Path) -> None:
    study = made_up()
    store_all(box, list(study.instances()))
    settled(box, study.study_uid)
    before, sent = standing(box, study.study_uid), destination.files()

    send(box, *sent)
    until(
        lambda: status(box)["returned"] == len(sent),
        seconds=_SECONDS,
        what="the results are kept as returned",
    )
    assert standing(box, study.study_uid) == before

    report = next(d for d in map(pydicom.dcmread, sent) if d.SOPClassUID.endswith(".88.34"))
    send(box, stored(folder, papers.reviewed(report), "accepted.dcm"))
    until(lambda: judged(box, study.study_uid), seconds=_SECONDS, what="the acceptance is read")

    pid = service_pid(box, "conductor")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    root = papers.content_of(report)
    papers.change_a_number(papers.groups(root)[0])
    send(box, stored(folder, papers.reviewed(report, root), "modified.dcm"))
    send(box, stored(folder, papers.selection(report), "rejected.dcm"))
    send(box, stored(folder, papers.reviewed(report, verified=False), "draft.dcm"))
    until(lambda: len(judged(box, study.study_uid)) == 3, seconds=_SECONDS, what="all assessments are read")
    assert set(judged(box, study.study_uid)) == set(Judgement)

    until(
        lambda: "assessment.unclear" in _words(box, study.study_uid),
        seconds=_SECONDS,
        what="the draft is told",
    )
    words = _words(box, study.study_uid)
    assert (words.count("result.returned"), words.count("assessment.unclear")) == (1, 1)
    assert "assemble.reopened" not in words
    assert standing(box, study.study_uid) == before
    settled(box, study.study_uid)
    _nobody_is_named(box)
    with box.ledger.read() as tx:
        (counted,) = assessments.by_version(tx)
    assert counted.results[Judgement.REJECTED] == 1
    assert sum(counted.results.values()) == 1


def _words(box: Box, study_uid: str) -> list[str]:
    with box.ledger.read() as tx:
        return [event.word for event in events.of_study(tx, study_uid)]


def _nobody_is_named(box: Box) -> None:
    """The reader's name lies in the kept bytes alone: not in the ledger's file, not in the log."""
    needles = [papers.READER.split("^")[0], papers.ORGANIZATION]
    said = readside("studies", "--json", "--config", box.config_path).stdout + repr(log_of(box))
    places = [path for path in box.config.storage.root.rglob("*") if path.is_file() and "sqlite" in path.name]
    assert places
    for needle in needles:
        assert needle not in said
        assert not [path.name for path in places if needle.encode() in path.read_bytes()]
