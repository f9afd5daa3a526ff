"""Orthanc as the PACS on both sides: it forwards a study to the box and gets the results back."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from appliance.demo.box import Box
from appliance.ledger import events
from tests.system import judging
from tests.system.boxes import make_box, running, settled, spooled, words
from tests.system.dcmtk import store_by_dcmsend
from tests.system.images import data_set_of, files, made_up
from tests.system.orthanc import EVERYTHING, OTHERS_ONLY, Orthanc
from tests.system.programs import need
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(300)
QUIET_SECONDS = 60.0
_CONFIRM = 'confirm_with = "pacs"\nconfirm_settle_seconds = 1.5\nconfirm_every_seconds = 1.5'


@dataclass
class Hospital:
    """An Orthanc and a box that know each other."""

    orthanc: Orthanc
    box: Box
    folder: Path

    def results(self, study_uid: str) -> list[Path]:
        return self.orthanc.results(study_uid, self.folder / f"fetched-{time.monotonic_ns()}")


def open_hospital(folder: Path, at_end: ExitStack, *, forward: str) -> Hospital:
    orthanc = Orthanc(folder / "orthanc")
    need("Orthanc")
    box = make_box(
        folder / "site",
        pacs_port=orthanc.dicom_port,
        pacs_ae=orthanc.ae_title,
        pacs_may=("store", "query"),
        assembly=_CONFIRM,
        quiet_seconds=QUIET_SECONDS,
        series_quiet_seconds=QUIET_SECONDS,
    )
    orthanc.start(box_port=box.config.dicom.port, forward=forward)
    at_end.callback(orthanc.stop)
    at_end.enter_context(running(box))
    return Hospital(orthanc, box, folder)


def the_study(folder: Path) -> list[Path]:
    """The real phantom where it is there, else a made-up study of as many slices."""
    real = Path(__file__).resolve().parents[3] / "shared" / "studies" / "ct-phantom-5mm"
    if real.is_dir():
        return sorted(real.iterdir())
    return files(made_up((28, 128, 128)).instances(), folder / "made-up")


def test_a_study_goes_through_orthanc_and_its_results_come_back(tmp_path: Path, at_end: ExitStack) -> None:
    hospital = open_hospital(tmp_path, at_end, forward=OTHERS_ONLY)
    box, orthanc = hospital.box, hospital.orthanc
    *first, late = the_study(tmp_path)
    study_uid = str(pydicom.dcmread(late, stop_before_pixels=True).StudyInstanceUID)

    started = time.monotonic()
    for path in first:
        orthanc.upload(path)
    until(
        lambda: len(hospital.results(study_uid)) >= 4,
        seconds=QUIET_SECONDS,
        what="results in Orthanc's study",
    )
    settled(box, study_uid)
    assert time.monotonic() - started < QUIET_SECONDS, "the count made the study complete, not the quiet time"
    old = hospital.results(study_uid)
    assert set(judging.kinds(old)) == {"sr", "seg", "sc", "text-sr"}
    judging.judge(old)
    frozen = [data_set_of(path) for path in (box.config.storage.root / "results").glob("?/*.dcm")]
    assert sorted(frozen) == sorted(map(data_set_of, old)), "Orthanc holds the bytes that were frozen"

    # The modality sends one more slice, over the network this time.
    started = time.monotonic()
    said = store_by_dcmsend(orthanc.dicom_port, [late], called=orthanc.ae_title)
    assert said.returncode == 0, said.stderr
    until(
        lambda: len(judging.reports(hospital.results(study_uid))) == 2,
        seconds=QUIET_SECONDS,
        what="a second report in Orthanc's study",
    )
    settled(box, study_uid, results=1)
    assert time.monotonic() - started < QUIET_SECONDS, "Orthanc counts the results too; that made nobody wait"
    new = [path for path in hospital.results(study_uid) if data_set_of(path) not in map(data_set_of, old)]
    assert judging.kinds(new) == judging.kinds(old)
    judging.judge(new)
    (former,), (report,) = judging.reports(old), judging.reports(new)
    assert str(former.SOPInstanceUID) in judging.predecessors(report)
    assert not judging.predecessors(former)
    logged = words(box)
    assert logged["assemble.ready"] == 2
    assert logged["job.done"] == 2
    assert spooled(box) == {data_set_of(path): 1 for path in [*first, late]}


def test_a_pacs_that_sends_the_results_back_starts_nothing_anew(tmp_path: Path, at_end: ExitStack) -> None:
    hospital = open_hospital(tmp_path, at_end, forward=EVERYTHING)
    box, orthanc = hospital.box, hospital.orthanc
    study = made_up()
    for path in files(study.instances(), tmp_path / "files"):
        orthanc.upload(path)
    until(
        lambda: len(hospital.results(study.study_uid)) >= 4, seconds=QUIET_SECONDS, what="results in Orthanc"
    )
    settled(box, study.study_uid)
    made = len(hospital.results(study.study_uid))
    # Every result comes back to the box as an image of the study would.
    until(lambda: sum(spooled(box).values()) == len(study.hu) + made, seconds=QUIET_SECONDS, what="the echo")
    # The box knows its own: the timeline says that they came, and the study is not opened for them.
    time.sleep(3)
    settled(box, study.study_uid)
    assert len(hospital.results(study.study_uid)) == made
    assert box.account(study.study_uid).counts.results == 1
    assert words(box)["job.done"] == words(box)["assemble.ready"] == 1
    with box.ledger.read() as tx:
        timeline = Counter(event.word for event in events.of_study(tx, study.study_uid))
    assert timeline["result.returned"] == 1
    assert timeline["result.returned_changed"] == 0
