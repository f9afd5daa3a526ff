"""The box of the night and where everything about it lies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from appliance.core.config import load
from appliance.demo.box import BOX_AE, Box, SiteShape, free_ports
from scripts.night.pacs import MoodyPacs, pacs_in
from scripts.night.senders import CALLING_AE, WANTED
from scripts.night.spring import Spring
from tests.certificates import Authority

PACS_AE = "PACS"
ROUTE = "bands"
# More than any modality pauses between two images, and little enough for many studies in a short night.
QUIET_SECONDS = 2.0
_MORE = f"""
[[peers]]
name = "modality"
ae_title = "{CALLING_AE}"
{{modality}}

[[routes]]
name = "{ROUTE}"
when = 'Modality == "CT" && SeriesDescription == "{WANTED}" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""
_DICOM = """max_associations = {associations}
commit = {commit}

[dicom.tls]
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
port = {port}
plain = true
"""


SUPERVISE = ("scripts.night.supervise",)


class NightBox(Box):
    """A box under a supervisor that takes orders."""

    forked = False
    start_seconds_max = 90.0
    program: Sequence[str] = SUPERVISE
    spring: Spring | None = None

    @property
    def orders(self) -> Path:
        """Return where orders for the supervisor go."""
        return self.folder / "orders"

    def order(self, service: str, armed: str) -> None:
        """Arm the next process of a service."""
        self.orders.mkdir(parents=True, exist_ok=True)
        part = self.orders / f".{service}"
        part.write_text(armed, encoding="ascii")
        part.rename(self.orders / service)

    @property
    def command(self) -> list[str]:
        """Return what runs the box under such a supervisor."""
        command = [sys.executable, "-m", *self.program, "--config", str(self.config_path)]
        return [*command, "--orders", str(self.orders), *(["--forked"] if self.forked else [])]

    def begin(self) -> None:
        """Start the box, and wait for nothing."""
        self._process = self._launched()

    def _launched(self) -> subprocess.Popen[bytes]:
        if self.spring is None:
            return super()._launched()
        return cast("subprocess.Popen[bytes]", self.spring.fork())


def made_in(
    folder: Path,
    *,
    forked: bool,
    retain_seconds: float,
    quiet_seconds: float = QUIET_SECONDS,
    modality_port: int = 0,
) -> tuple[NightBox, MoodyPacs]:
    """Write the configuration of a box and start its PACS; the box does not run yet.

    With a `modality_port` there is storage commitment: the PACS commits, and the box, which reports there.
    """
    pacs = pacs_in(folder / "pacs", PACS_AE, [BOX_AE], commits=bool(modality_port))
    authority = Authority(folder / "tls")
    own = authority.issue("box")
    dicom = _DICOM.format(
        associations=40,
        commit="true" if modality_port else "false",
        certificate=own.certificate,
        key=own.key,
        ca=authority.path,
        port=free_ports(1)[0],
    )
    site = folder / "site"
    site.mkdir(parents=True)
    shape = SiteShape(
        pacs_ae=PACS_AE,
        pacs_port=pacs.start(),
        quiet_seconds=quiet_seconds,
        series_quiet_seconds=quiet_seconds / 2,
        more=_MORE.format(modality=f'host = "127.0.0.1"\nport = {modality_port}' if modality_port else ""),
        pacs_more="commitment = true" if modality_port else "",
        dicom=dicom,
        retain_days=retain_seconds / 86_400,
        outputs=("sr", "sc"),
    )
    box = NightBox(site, shape)
    box.forked = forked
    assert load(box.config_path).dicom.tls is not None
    return box, pacs
