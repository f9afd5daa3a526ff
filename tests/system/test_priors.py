"""A real Orthanc has an earlier study of the patient: fetched, analysed, and waited for, but not for ever.

It also has a newer one of another patient, whose hospital gave out the same Patient ID.
"""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage

from appliance.demo.box import Box
from appliance.demo.study import MadeStudy
from appliance.ledger import jobs, priors, results, studies, tables
from appliance.ledger.priors import PriorState
from tests.appliance.results.sr_rules import children, faults, numbers
from tests.system.boxes import (
    Pacs,
    log_of,
    make_box,
    pacs_in,
    readside,
    running,
    service_pid,
    settled,
    spooled,
    status,
    store_all,
    why,
)
from tests.system.images import changed, files, made_up
from tests.system.orthanc import Orthanc
from tests.system.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
PATIENT, WEST, EAST = "QVXZMARK770077", "QVXZWEST", "QVXZEAST"
TODAY, YEAR_AGO, MONTH_AGO = "20261121", "20251102", "20261020"
_SITE = """
[[routes]]
name = "bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]
priors = {{ count = 2, wait_seconds = {wait}, when = 'StudyDescription == "Made-up head"' }}

[[peers]]
name = "archive"
ae_title = "{title}"
host = "127.0.0.1"
port = {port}
may = ["store", "query"]
retrieve = "{way}"
"""


@dataclass
class Ward:
    """A box, a PACS that gets its results, an archive with earlier studies, and a study of today."""

    box: Box
    pacs: Pacs
    today: MadeStudy
    earlier: MadeStudy
    stranger: MadeStudy

    def send(self) -> None:
        """Send the study of today."""
        images = changed(self.today, PatientID=PATIENT, IssuerOfPatientID=WEST, StudyDate=TODAY)
        store_all(self.box, images)

    def chosen(self) -> dict[str, PriorState]:
        """Return the studies that the newest job of today waits or waited for."""
        with self.box.ledger.read() as tx:
            ask = priors.of_job(tx, jobs.of_study(tx, self.today.study_uid)[-1].id)
            assert ask is not None
            return {one.study_uid: one.state for one in priors.of_ask(tx, ask.id)}


def ward(folder: Path, at_end: ExitStack, *, way: str = "get", wait: float = 120.0, up: bool = True) -> Ward:
    """Prepare it; the archive answers unless it is not `up`."""
    orthanc, pacs = Orthanc(folder / "orthanc"), pacs_in(folder / "pacs")
    more = _SITE.format(wait=wait, title=orthanc.ae_title, port=orthanc.dicom_port, way=way)
    box = make_box(folder / "site", pacs_port=pacs.start(), more=more)
    at_end.callback(pacs.stop)
    made = Ward(
        box=box,
        pacs=pacs,
        today=made_up((4, 48, 48)),
        earlier=made_up((5, 48, 48)),
        stranger=made_up((3, 48, 48)),
    )
    if up:
        orthanc.start(box_port=box.config.dicom.port, forward="false")
        at_end.callback(orthanc.stop)
        hers = changed(made.earlier, PatientID=PATIENT, IssuerOfPatientID=WEST, StudyDate=YEAR_AGO)
        his = changed(made.stranger, PatientID=PATIENT, IssuerOfPatientID=EAST, StudyDate=MONTH_AGO)
        for path in files([*hers, *his], folder / "files"):
            orthanc.upload(path)
    return made


@pytest.mark.parametrize("way", ["get", "move"])
def test_the_patients_earlier_study_is_fetched_and_analysed_and_its_result_goes_nowhere(
    tmp_path: Path, at_end: ExitStack, way: str
) -> None:
    here = ward(tmp_path, at_end, way=way)
    with running(here.box) as box:
        here.send()
        settled(box, here.today.study_uid, seconds=150)
        assert here.chosen() == {here.earlier.study_uid: PriorState.USED}
        assert f"Compared with the result of study {here.earlier.study_uid}." in why(
            box, here.today.study_uid
        )
        with box.ledger.read() as tx:
            (result,) = results.of_study(tx, here.earlier.study_uid)
            assert studies.find(tx, here.stranger.study_uid) is None
            assert [job.mode for job in jobs.of_study(tx, here.earlier.study_uid)] == [priors.MODE]
        assert (result.route, result.measurements != []) == ("bands", True)
        assert box.account(here.earlier.study_uid).deliveries == []
        assert "its result is kept here and sent to nobody" in why(box, here.earlier.study_uid)
        assert here.pacs.came_for(here.today.study_uid)
        assert here.pacs.came_for(here.earlier.study_uid) == []
        assert len(spooled(box)) == 9
        _it_is_quoted(here, result)
        assert status(box)["balance"] == 0
        _nobody_is_named(box)


def _it_is_quoted(here: Ward, result: results.Result) -> None:
    """Look into the report that the PACS got: the earlier numbers, their date, and where they are from."""
    (report,) = [
        dcmread(path)
        for path in here.pacs.folder.rglob("*.dcm")
        if dcmread(path, specific_tags=["SOPClassUID"]).get("SOPClassUID") == Comprehensive3DSRStorage
    ]
    assert faults(report) == []
    (section,) = children(report, "121068")
    assert children(section, "111060")[0].Date == YEAR_AGO
    with here.box.ledger.read() as tx:
        (own,) = [made for made in results.objects_of(tx, result.id) if made.output == "sr"]
    (source,) = children(section, "121002")[0].ReferencedSOPSequence
    assert source.ReferencedSOPInstanceUID == own.sop_instance_uid
    quoted = [
        float(number.MeasuredValueSequence[0].NumericValue)
        for group in children(section, "125007")
        for number in numbers(group)
    ]
    measured = [row["value"] for row in result.measurements if row["value"] is not None]
    assert len(quoted) > 0
    assert all(any(abs(one - value) <= 1e-8 * abs(value) for value in measured) for one in quoted)


def _nobody_is_named(box: Box) -> None:
    """Look for the patient in everything that came of asking; images and their facts are not that."""
    places = {
        "log": repr(log_of(box)),
        "status": readside("status", "--json", "--config", box.config_path).stdout,
    }
    places["metrics"] = urllib.request.urlopen(f"{box.console}/metrics", timeout=60).read().decode()
    with box.ledger.read() as tx:
        for table in (
            *(tables.prior_asks, tables.priors, tables.fetches, tables.events, tables.jobs),
            *(tables.decisions, tables.rounds, tables.studies, tables.results),
        ):
            places[table.name] = repr(tx.execute(sa.select(table)).all())
    for mark in (PATIENT, WEST, EAST):
        assert [name for name, text in places.items() if mark in text] == []
    assert PATIENT in repr(spooled(box)), "the mark is in the images"


def test_a_study_whose_archive_is_silent_is_waited_for_no_longer_than_its_time(
    tmp_path: Path, at_end: ExitStack
) -> None:
    here = ward(tmp_path, at_end, wait=4.0, up=False)
    with running(here.box) as box:
        here.send()
        until(
            lambda: "waits for earlier studies of the patient" in why(box, here.today.study_uid),
            seconds=30,
            what="the job waits",
        )
        settled(box, here.today.study_uid)
        text = why(box, here.today.study_uid)
        assert "Not compared with an earlier study: no peer answered in time." in text
        with box.ledger.read() as tx:
            (job,) = jobs.of_study(tx, here.today.study_uid)
            ask = priors.of_job(tx, job.id)
        assert ask is not None
        assert ask.ended_at is not None
        assert ask.ended_at - job.created_at >= 4.0


@pytest.mark.parametrize("victim", ["conductor", "listener", "worker"])
def test_a_service_that_is_killed_between_fetch_and_job_changes_nothing(
    tmp_path: Path, at_end: ExitStack, victim: str
) -> None:
    here = ward(tmp_path, at_end)
    with running(here.box) as box:
        here.send()

        def fetched() -> bool:
            with box.ledger.read() as tx:
                return studies.find(tx, here.earlier.study_uid) is not None

        until(fetched, seconds=60, what="something of the earlier study")
        with box.ledger.read() as tx:
            assert jobs.of_study(tx, here.earlier.study_uid) == [], "it was decided before the kill"
        pid = service_pid(box, victim)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        settled(box, here.today.study_uid, seconds=200)
        assert here.chosen() == {here.earlier.study_uid: PriorState.USED}
        assert here.pacs.came_for(here.today.study_uid)
        assert here.pacs.came_for(here.earlier.study_uid) == []
        assert set(spooled(box).values()) == {1}
