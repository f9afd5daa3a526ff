"""Bad images: each has its status, its word in the log and its line in `readside why`, and nothing is lost.

Every image bears a made-up patient whose name must not be found where no patient belongs (P11).
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate

from appliance.core.words import StudyState
from appliance.demo.box import Box
from appliance.ledger import studies
from dicom_node.send import Outgoing
from tests.system import judging
from tests.system.boxes import (
    Pacs,
    log_of,
    make_box,
    pacs_in,
    readside,
    running,
    settled,
    spooled,
    status,
    store,
    store_all,
    why,
    words,
)
from tests.system.images import changed, decoded, made_up, outgoing, rewritten, shipped
from tests.system.waiting import until
from tests.system.wire import store_nothing

pytestmark = pytest.mark.timeout(240)
MARK = "Qvxzmark"
PATIENT = {
    "PatientName": f"{MARK}^Person",
    "PatientID": f"{MARK}-0815",
    "AccessionNumber": f"{MARK}-ACC",
    "ReferringPhysicianName": f"{MARK}^Doctor",
}
_ROUTE = """
[[routes]]
name = "bands"
when = 'Modality == "CT"'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""


@dataclass
class Site:
    box: Box
    pacs: Pacs
    kept: list[bytes]

    def keep(self, objects: Sequence[Outgoing]) -> str:
        """Send what the box must acknowledge; return the study."""
        store_all(self.box, objects)
        self.kept += [item.data for item in objects]
        return str(decoded(objects[0]).StudyInstanceUID)

    def page(self, study_uid: str) -> str:
        """Return the text that came back in place of an answer."""
        settled(self.box, study_uid)
        came = [one.path for one in self.pacs.came_for(study_uid)]
        judging.judge(came)
        pages = [pydicom.dcmread(path) for path in came]
        assert {page.SeriesDescription.split(" ct-")[0] for page in pages} == {"NOT ANALYSED"}
        assert sorted(page.Modality for page in pages) == ["OT", "SR"]
        return "\n".join(judging.texts(page) for page in pages)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bad")
    pacs = pacs_in(folder / "pacs")
    box = make_box(folder / "site", pacs_port=pacs.start(), more=_ROUTE)
    try:
        with running(box):
            yield Site(box, pacs, [])
    finally:
        pacs.stop()


def marked(**values) -> list[Outgoing]:
    return changed(made_up(), **PATIENT, **values)


REFUSED: dict[str, tuple[Callable[[Outgoing], Outgoing], int, str]] = {
    "empty": (lambda item: replace(item, data=b""), 0xC110, "receive.truncated"),
    "truncated": (lambda item: replace(item, data=item.data[:-1001]), 0xC110, "receive.truncated"),
    "another instance": (
        lambda item: replace(item, sop_instance_uid="2.25.4711"),
        0xC112,
        "receive.uid_mismatch",
    ),
    "another class": (
        lambda item: replace(item, sop_class_uid="1.2.840.10008.5.1.4.1.1.4"),
        0xA900,
        "receive.class_mismatch",
    ),
    "no study": (lambda item: rewritten(item, StudyInstanceUID=None), 0xC111, "receive.bad_uid"),
    "a path for a UID": (
        lambda item: rewritten(item, SeriesInstanceUID="../../../etc/x"),
        0xC111,
        "receive.bad_uid",
    ),
}
# What was refused before its study could be read belongs to no study's story.
NAMELESS = ("empty", "no study")


@pytest.mark.parametrize("fault", list(REFUSED))
def test_what_is_refused_has_its_status_its_word_and_its_line(site: Site, fault: str) -> None:
    spoil, code, word = REFUSED[fault]
    *good, last = marked()
    before = words(site.box)[word]
    bad = spoil(last)
    assert _answer(site.box, bad) == f"{code:04X}"
    until(lambda: words(site.box)[word] == before + 1, seconds=10, what=f"{word} in the log")
    # The association's other images are not harmed, and the sound image is taken when it comes again.
    study_uid = site.keep([*good, last])
    assert bad.data not in spooled(site.box) or bad.data == last.data
    settled(site.box, study_uid)
    (report,) = judging.reports([one.path for one in site.pacs.came_for(study_uid)])
    assert report.StudyInstanceUID == study_uid
    assert ("An image was refused" in why(site.box, study_uid)) == (fault not in NAMELESS)


def _answer(box: Box, item: Outgoing) -> str:
    """Send one image; return the status that the box answers, as the standard writes it."""
    if not item.data:
        return f"{store_nothing(box.config.dicom.port, item):04X}"
    (sent,) = store(box, [item])
    return f"{sent.status:04X}"


def without_pixels(_folder: Path) -> list[Outgoing]:
    return marked(PixelData=None)


def of_858_terabytes(_folder: Path) -> list[Outgoing]:
    return [rewritten(marked()[0], Rows=65535, Columns=65535, NumberOfFrames=100_000)]


def of_all_frames_there_are(_folder: Path) -> list[Outgoing]:
    return [rewritten(marked()[0], NumberOfFrames=2**31 - 1)]


def of_scouts(_folder: Path) -> list[Outgoing]:
    return marked(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def of_a_broken_stream(folder: Path) -> list[Outgoing]:
    """A CT slice whose JPEG 2000 code stream ends in noise, in frames that are well made."""
    dataset = pydicom.dcmread(shipped("693_J2KI.dcm")[0])
    stream = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    fresh = decoded(next(iter(made_up().instances())))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = fresh.StudyInstanceUID, fresh.SeriesInstanceUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = fresh.SOPInstanceUID
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encapsulate([stream[:120] + bytes(range(256)) * 2])
    dataset.save_as(folder / "broken.dcm")
    return [outgoing(folder / "broken.dcm")]


@pytest.mark.parametrize(
    ("make", "word", "outcome", "line"),
    [
        (without_pixels, "job.not_eligible", "not eligible", "hold no pixels"),
        (of_858_terabytes, "job.not_eligible", "not eligible", "100000 frames"),
        (of_all_frames_there_are, "job.not_eligible", "not eligible", "2147483647 frames"),
        (of_scouts, "job.not_eligible", "not eligible", "LOCALIZER"),
        (of_a_broken_stream, "decode.stream", "failed", "damaged"),
    ],
)
def test_what_cannot_be_analysed_is_kept_and_says_so(
    site: Site, tmp_path: Path, make: Callable[[Path], list[Outgoing]], word: str, outcome: str, line: str
) -> None:
    before = words(site.box)[word]
    study_uid = site.keep(make(tmp_path))
    said = site.page(study_uid)
    assert f"NOT ANALYSED ({outcome}). This is not a negative result." in said
    assert line in said
    assert site.box.account(study_uid).outcomes == {"bands": outcome}
    assert words(site.box)[word] == before + 1
    explained = why(site.box, study_uid)
    assert "Not analysed" in explained
    assert line in explained


def test_two_patients_in_one_study_are_held_and_nothing_is_sent(site: Site) -> None:
    *first, last = marked()
    study_uid = site.keep([*first, rewritten(last, PatientID=f"{MARK}-OTHER")])

    def held() -> bool:
        with site.box.ledger.read() as tx:
            study = studies.find(tx, study_uid)
        return study is not None and study.state is StudyState.HELD

    until(held, seconds=30, what="the study is held")
    assert words(site.box)["assemble.identity_conflict"] == 1
    assert "Held with 6 images: its instances name more than one patient" in why(site.box, study_uid)
    assert not site.pacs.came_for(study_uid)
    # A person's word alone does not make it one patient: it is judged anew, and held again.
    assert readside("retry", study_uid, "--config", site.box.config_path).returncode == 0
    until(
        lambda: words(site.box)["assemble.identity_conflict"] == 2 and held(), seconds=30, what="held again"
    )
    assert not site.pacs.came_for(study_uid)
    # Settled in the PACS and sent again under one patient, it goes on.
    site.keep([last])
    settled(site.box, study_uid)
    (report,) = judging.reports([one.path for one in site.pacs.came_for(study_uid)])
    assert report.PatientID == PATIENT["PatientID"]


def test_after_all_this_everything_is_there_and_no_patient_is_named(site: Site) -> None:
    report = status(site.box)
    assert report["balance"] == 0
    assert site.kept
    assert set(site.kept) <= set(spooled(site.box))
    assert {entry["event"] for entry in log_of(site.box)} & {"job.unforeseen", "receive.our_fault"} == set()
    with urllib.request.urlopen(f"{site.box.console}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert "readside_balance 0.0" in metrics
    places = {
        "log": site.box.log_path.read_text(),
        "metrics": metrics,
        "status": str(report),
        "readside status": readside("status", "--config", site.box.config_path).stdout,
        "readside check-config": readside("check-config", site.box.config_path).stdout,
    }
    found = [name for name, text in places.items() if MARK.lower() in text.lower()]
    assert not found
    uids = {
        str(pydicom.dcmread(one.path, stop_before_pixels=True).StudyInstanceUID) for one in site.pacs.journal
    }
    assert uids
    assert not [uid for uid in uids if uid in places["log"] or uid in metrics], "UIDs are written shortened"
