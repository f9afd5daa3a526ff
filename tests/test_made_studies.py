"""Made-up radiographs and MR studies are what a detector or a scanner sends, and the worker reads them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from appliance.worker.decode import Decoder
from appliance.worker.folder import instances_from_folder
from appliance.worker.limits import WorkerLimits
from appliance.worker.series import read_series
from appliance.worker.volume import build_volume
from models.analysis import analyse
from models.catalogue import LIBRARY
from models.findings import Outcome
from models.package import open_package
from models.phantom_mr import head
from models.phantom_radiograph import radiograph
from models.tensors import Volume
from tests.made_studies import MadeMr, MadeRadiograph, write
from tests.models.made import script

CHEST = radiograph(3, shape=(90, 75), spacing_mm=(4.4, 4.2), foreign_bodies=1)
HEAD = head(3, shape=(12, 40, 32), spacing_mm=(14.0, 5.5, 5.4))
STUDIES: dict[str, MadeRadiograph | MadeMr] = {
    "dx": MadeRadiograph(radiograph=CHEST, number=1),
    "dx-inverted": MadeRadiograph(radiograph=CHEST, number=2, inverted=True),
    "cr": MadeRadiograph(radiograph=CHEST, number=3, modality="CR"),
    "cr-inverted": MadeRadiograph(radiograph=CHEST, number=4, modality="CR", inverted=True),
    "mr": MadeMr(head=HEAD, number=5),
}
_SECONDS_MAX = 60


def volume_of(folder: Path) -> Volume:
    """Read a folder as the box would."""
    limits = WorkerLimits()
    found = instances_from_folder(folder)
    assert not found.unreadable
    series = read_series(found.instances, found.reader, limits)
    with Decoder(limits.decode) as decoder:
        return build_volume(series, found.reader, decoder, limits=limits)


def errors_of(paths: Sequence[Path]) -> list[str]:
    """Let dciodvfy look at each file."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy is not installed: no independent judge of the objects")
    verdicts = [
        subprocess.run([tool, "-new", path], capture_output=True, text=True, timeout=_SECONDS_MAX)
        for path in paths
    ]
    said = [line for verdict in verdicts for line in (verdict.stdout + verdict.stderr).splitlines()]
    assert said, "the judge names at least the kind of object"
    return [line for line in said if line.startswith("Error")]


@pytest.mark.parametrize("name", STUDIES)
def test_an_independent_judge_finds_no_error(name: str, tmp_path: Path) -> None:
    assert errors_of(write(tmp_path, STUDIES[name].datasets())[:2]) == []


@pytest.mark.parametrize("name", ["dx", "dx-inverted", "cr", "cr-inverted"])
def test_a_model_sees_the_same_radiograph_however_it_was_stored(name: str, tmp_path: Path) -> None:
    write(tmp_path, STUDIES[name].datasets())
    volume = volume_of(tmp_path)
    assert np.array_equal(volume.voxels[0], CHEST.pixels)
    assert volume.pixel_spacing_mm == CHEST.spacing_mm
    assert (volume.modality, volume.units) == (name[:2].upper(), "")


@pytest.mark.parametrize("inverted", [False, True], ids=["plain", "inverted"])
def test_a_package_finds_in_the_file_what_was_put_into_the_picture(inverted: bool, tmp_path: Path) -> None:
    package = open_package(LIBRARY / "dx-phantom-marker")
    picture = radiograph(3, foreign_bodies=1, foreign_contrast=(0.6, 0.6))
    write(tmp_path, MadeRadiograph(radiograph=picture, number=6, inverted=inverted).datasets())
    infer = script("making").session(package)
    assert analyse(package, volume_of(tmp_path), infer).outcome is Outcome.FINDING


def test_inverted_pixels_are_other_pixels() -> None:
    plain, inverted = (next(iter(STUDIES[name].datasets())) for name in ("dx", "dx-inverted"))
    assert plain.PixelData != inverted.PixelData
    assert inverted.PhotometricInterpretation == "MONOCHROME1"
    assert "ImagePositionPatient" not in plain


def test_the_mr_slices_lie_where_the_phantom_has_them(tmp_path: Path) -> None:
    write(tmp_path, STUDIES["mr"].datasets())
    volume = volume_of(tmp_path)
    assert np.array_equal(volume.voxels, HEAD.values)
    assert volume.spacing_mm == HEAD.spacing_mm
    assert (volume.regular, volume.modality, volume.units) == (True, "MR", "")


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_sent_is_what_is_written(name: str) -> None:
    sent = list(STUDIES[name].instances())
    assert [one.sop_instance_uid for one in sent] == [
        image.SOPInstanceUID for image in STUDIES[name].datasets()
    ]
    assert len({one.sop_instance_uid for one in sent}) == len(sent)
