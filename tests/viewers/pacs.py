"""A real Orthanc that serves DICOMweb, as viewers want it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.system.orthanc import Orthanc

_PLACES = (Path("/usr/share/orthanc/plugins"), *Path("/usr/lib").glob("*-linux-gnu"))
# It forwards nothing, so nobody listens there.
_NO_BOX_PORT = 1
_NOTHING = "false"


class WebPacs(Orthanc):
    """One Orthanc with its DICOMweb plugin; `public` is the host and port that a browser sees."""

    def __init__(self, folder: Path, *, public: str) -> None:
        super().__init__(folder)
        self._public = public

    @property
    def web(self) -> tuple[str, int]:
        """Return where its web server listens."""
        return ("127.0.0.1", self._http_port)

    def open(self) -> None:
        """Start it."""
        self.start(box_port=_NO_BOX_PORT, forward=_NOTHING)

    def _configuration(self, box_port: int, script: Path) -> dict[str, Any]:
        web = {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": True,
            "WadoRoot": "/wado",
            "Host": self._public,
            "Ssl": False,
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        }
        return super()._configuration(box_port, script) | {"Plugins": [str(plugin())], "DicomWeb": web}


def plugin() -> Path:
    """Find the plugin; without it the test is skipped, and under CI it fails."""
    found = [path for place in _PLACES for path in place.glob("libOrthancDicomWeb.so*")]
    if found:
        return found[0]
    if os.environ.get("CI"):
        pytest.fail("Orthanc's DICOMweb plugin is not installed; in CI it must be")
    pytest.skip("Orthanc's DICOMweb plugin is not installed")
