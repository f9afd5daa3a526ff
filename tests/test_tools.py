"""The real peers and judges of the tests are on the machine: a wish at a desk, a must in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ELSEWHERE = ("/usr/sbin", "/usr/local/sbin", "/sbin")
PROGRAMS = {
    "Orthanc": ("Orthanc",),
    "DCMTK storescu": ("storescu",),
    "DCMTK dcmsend": ("dcmsend",),
    "DCMTK storescp": ("storescp",),
    "DCMTK dcmdump": ("dcmdump",),
    "DCMTK dsrdump": ("dsrdump",),
    "dicom3tools dciodvfy": ("dciodvfy",),
    "Chromium": ("chromium", "chromium-browser", "google-chrome"),
}
REQUIRED = bool(os.environ.get("CI") or os.environ.get("READSIDE_TOOLS_REQUIRED"))


def _missing(what: str) -> None:
    if REQUIRED:
        pytest.fail(f"{what} is not installed, and CI must have it")
    pytest.skip(f"{what} is not installed; the tests that need it are skipped")


@pytest.mark.parametrize("tool", PROGRAMS)
def test_the_program_is_there(tool):
    # pynetdicom brings programs of DCMTK's names into the virtual environment; those are not meant.
    inside = Path(os.environ.get("VIRTUAL_ENV", "/nowhere")) / "bin"
    path = os.pathsep.join(
        [p for p in os.environ.get("PATH", "").split(os.pathsep) if Path(p) != inside] + list(ELSEWHERE)
    )
    if not any(shutil.which(name, path=path) for name in PROGRAMS[tool]):
        _missing(tool)


def test_postgresql_is_there():
    if not (list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")):
        _missing("PostgreSQL's initdb")


def test_orthancs_dicomweb_plugin_is_there():
    places = [Path("/usr/share/orthanc/plugins"), *Path("/usr/lib").glob("*")]
    if not any(list(place.glob("libOrthancDicomWeb.so*")) for place in places if place.is_dir()):
        _missing("Orthanc's DICOMweb plugin")
