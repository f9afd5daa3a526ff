"""A real Orthanc as the PACS: it keeps studies, forwards what it receives, answers queries.

Only loopback, no plugin, no user interface.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from appliance.demo.box import BOX_AE, free_ports
from tests.system.dcmtk import MODALITY_AE
from tests.system.programs import need
from tests.system.waiting import until

_FORWARD = """
function OnStoredInstance(instance, tags, metadata, origin)
  if origin['RequestOrigin'] ~= 'Lua' and {condition} then
    SendToModality(instance, 'box')
  end
end
"""
# What a careful site writes, and what a hasty one does: the hasty one sends the box its own results back.
OTHERS_ONLY = f"origin['RemoteAet'] ~= '{BOX_AE}'"
EVERYTHING = "true"


class Orthanc:
    """One Orthanc with its files in a folder."""

    def __init__(self, folder: Path, *, ae_title: str = "ORTHANC") -> None:
        self.ae_title = ae_title
        self.dicom_port, self._http_port = free_ports(2)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, box_port: int, forward: str = OTHERS_ONLY, more: str = "") -> None:
        """Start it, with the box as the modality that it forwards to; `more` is Lua that it runs too."""
        script = self._folder / "forward.lua"
        script.write_text(_FORWARD.format(condition=forward) + more)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(box_port, script)))
        with (self._folder / "orthanc.log").open("ab") as output:
            self._process = subprocess.Popen(
                [need("Orthanc"), str(configuration)], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            until(self._answers, seconds=60, what="Orthanc answers")
        except BaseException:
            self.stop()
            raise

    def _configuration(self, box_port: int, script: Path) -> dict[str, Any]:
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [],
            "LuaScripts": [str(script)],
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomModalities": {
                "box": {"AET": BOX_AE, "Host": "127.0.0.1", "Port": box_port, "AllowFind": True},
                "modality": {"AET": MODALITY_AE, "Host": "127.0.0.1", "Port": 1, "AllowStore": True},
            },
        }

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def ask(self, path: str, data: bytes | None = None) -> Any:
        """Ask its REST interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._http_port}{path}", data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def upload(self, path: Path) -> None:
        """Give it a file, as its own import pages do."""
        self.ask("/instances", path.read_bytes())

    def count(self, study_uid: str) -> int:
        """Return how many instances of a study it holds."""
        return len(self._find(study_uid))

    def results(self, study_uid: str, folder: Path) -> list[Path]:
        """Fetch the objects of a study that are no CT images; return their files, oldest first."""
        folder.mkdir(parents=True, exist_ok=True)
        found = []
        for row in self._find(study_uid):
            if self.ask(f"/series/{row['ParentSeries']}")["MainDicomTags"]["Modality"] != "CT":
                path = folder / f"{row['IndexInSeries'] or 0:04}-{row['ID']}.dcm"
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self._http_port}/instances/{row['ID']}/file", timeout=60
                ) as answer:
                    path.write_bytes(answer.read())
                found.append(path)
        return found

    def _find(self, study_uid: str) -> list[dict[str, Any]]:
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
        return list(self.ask("/tools/find", json.dumps(query).encode()))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "Orthanc ended by itself"
        try:
            return bool(self.ask("/system"))
        except (urllib.error.URLError, ConnectionError):
            return False
