"""DCMTK around the box: its senders, its echo, its receiver as the destination of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from appliance.demo.box import Box
from tests.system import judging
from tests.system.boxes import PACS_AE, make_box, running, settled, spooled, words
from tests.system.dcmtk import StoreScp, echo, store_by_dcmsend, store_by_storescu
from tests.system.images import data_set_of, files, made_up, shipped
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)

# Only the made-up studies are analysed; what is received is the same for all.
_ROUTE = """
[[routes]]
name = "bands"
when = 'SeriesDescription == "STD HEAD PHANTOM"'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""
NATIVE = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "ExplVR_BigEnd.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "badVR.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
    "waveform_ecg.dcm",
    "examples_palette.dcm",
    "dicomdirtests/77654033/CR1/6154",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892003/MR1/15820",
)
COMPRESSED = (
    "693_J2KI.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "examples_jpeg2k.dcm",
    "examples_ybr_color.dcm",
)
# storescu proposes one compression at a time.
BY_OPTION = {
    "-xs": ("SC_rgb_jpeg_gdcm.dcm",),
    "-xy": ("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm"),
    "-xx": ("JPGExtended.dcm", "JPEG-lossy.dcm"),
    "-xv": ("MR_small_jp2klossless.dcm", "J2K_pixelrep_mismatch.dcm", "examples_jpeg2k.dcm"),
    "-xw": ("693_J2KI.dcm", "JPEG2000.dcm"),
    "-xt": ("MR_small_jpeg_ls_lossless.dcm",),
    "-xu": ("SC_rgb_jls_lossy_line.dcm",),
    "-xr": ("MR_small_RLE.dcm", "SC_rgb_rle_16bit_2frame.dcm"),
}


@dataclass
class Neighbours:
    """A box that sends to one storescp, and another one beside it that shows what DCMTK puts on the wire."""

    box: Box
    destination: StoreScp
    witness: StoreScp

    def both_get(self, send: str, paths: Sequence[Path], *options: str) -> None:
        """Send the same files to both; the box must hold what the witness got, bit by bit."""
        port = self.box.config.dicom.port
        before_box, before_witness = spooled(self.box), self._witnessed()
        how = {"storescu": store_by_storescu, "dcmsend": store_by_dcmsend}[send]
        for said in (
            how(self.witness.port, paths, *options, called=self.witness.ae_title),
            how(port, paths, *options),
        ):
            answers = said.stdout + said.stderr
            assert (said.returncode, answers.count("(Success)")) == (0, len(paths)), answers
        came = self._witnessed() - before_witness
        assert sum(came.values()) == len(paths)
        wanted = set(before_box) | set(came)
        until(lambda: set(spooled(self.box)) == wanted, seconds=20, what="the spool holds what was sent")

    def _witnessed(self) -> Counter[bytes]:
        return Counter(map(data_set_of, self.witness.files()))


def named(path: Path, folder: Path) -> Path:
    """Give a study and a series to an object that was shipped without; the others are left alone."""
    dataset = pydicom.dcmread(path)
    if dataset.get("StudyInstanceUID") and dataset.get("SeriesInstanceUID"):
        return path
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"{dataset.SOPInstanceUID[:50]}.1"
    dataset.save_as(folder / path.name)
    return folder / path.name


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("dcmtk")
    destination = StoreScp(folder / "destination", PACS_AE)
    witness = StoreScp(folder / "witness", "WITNESS")
    box = make_box(folder / "site", pacs_port=destination.port, more=_ROUTE)
    with ExitStack() as stack:
        for receiver in (destination, witness):
            receiver.start()
            stack.callback(receiver.stop)
        stack.enter_context(running(box))
        yield Neighbours(box, destination, witness)


def test_an_echo_is_answered(beside: Neighbours) -> None:
    assert echo(beside.box.config.dicom.port).returncode == 0


@pytest.mark.parametrize(
    ("titles", "reason"),
    [
        ({"calling": "STRANGER"}, "Calling AE Title Not Recognized"),
        ({"called": "OTHER"}, "Called AE Title Not"),
    ],
)
def test_a_wrong_title_is_rejected_with_its_reason(beside: Neighbours, titles: dict, reason: str) -> None:
    before = words(beside.box)["node.refused_ae"]
    said = echo(beside.box.config.dicom.port, **titles)
    assert said.returncode != 0
    assert reason in said.stdout + said.stderr
    paths = shipped("CT_small.dcm")
    for send in (store_by_storescu, store_by_dcmsend):
        assert send(beside.box.config.dicom.port, paths, **titles).returncode != 0
    until(
        lambda: words(beside.box)["node.refused_ae"] == before + 3, seconds=10, what="three words in the log"
    )


def test_storescu_delivers_real_objects_byte_for_byte(beside: Neighbours) -> None:
    # Implicit VR alone, so that the box and the witness cannot choose different syntaxes.
    beside.both_get("storescu", shipped(*NATIVE), "-R", "-xi")


@pytest.mark.parametrize("option", list(BY_OPTION))
def test_storescu_delivers_every_compression_byte_for_byte(
    beside: Neighbours, option: str, tmp_path: Path
) -> None:
    paths = [named(path, tmp_path) for path in shipped(*BY_OPTION[option])]
    beside.both_get("storescu", paths, "-R", option)


def test_dcmsend_delivers_real_objects_byte_for_byte(beside: Neighbours, tmp_path: Path) -> None:
    paths = [named(path, tmp_path) for path in shipped(*NATIVE, *COMPRESSED)]
    beside.both_get("dcmsend", paths, "-dn")


@pytest.mark.parametrize("study", ["ct-phantom-5mm", "ct-head-tilted"])
@pytest.mark.parametrize("send", ["storescu", "dcmsend"])
def test_real_studies_arrive_byte_for_byte(
    beside: Neighbours, shared_studies: Path, send: str, study: str
) -> None:
    paths = sorted((shared_studies / study).iterdir())
    beside.both_get(send, paths)
    the_files = set(map(data_set_of, paths))
    # The second sender brings the same: it lies there twice until its row shows that the box had it.
    until(
        lambda: (
            [number for data, number in spooled(beside.box).items() if data in the_files] == [1] * len(paths)
        ),
        seconds=20,
        what="the very bytes of the files, once each",
    )


def test_storescp_receives_the_results(beside: Neighbours, tmp_path: Path) -> None:
    study = made_up()
    said = store_by_storescu(beside.box.config.dicom.port, files(study.instances(), tmp_path / "files"))
    assert said.returncode == 0, said.stderr
    settled(beside.box, study.study_uid)
    came = beside.destination.files()
    assert set(judging.kinds(came)) == {"sr", "seg", "sc", "text-sr"}
    judging.judge(came)
    frozen = [data_set_of(path) for path in (beside.box.config.storage.root / "results").glob("?/*.dcm")]
    assert sorted(map(data_set_of, came)) == sorted(frozen), "each once, and the bytes that were frozen"
