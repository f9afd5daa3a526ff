"""DCMTK's programs around a box: senders, an echo, a receiver that keeps what it was sent bit by bit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.demo.box import BOX_AE, free_ports
from tests.system.programs import need, run
from tests.system.waiting import until

MODALITY_AE = "MODALITY"


def store_by_storescu(
    port: int, paths: Sequence[Path], *options: str, calling: str = MODALITY_AE, called: str = BOX_AE
) -> subprocess.CompletedProcess[str]:
    """Send files over one association, each in the transfer syntax that the options propose."""
    titles = ("-aet", calling, "-aec", called)
    return run("storescu", "-v", *titles, *options, "127.0.0.1", port, *paths)


def store_by_dcmsend(
    port: int, paths: Sequence[Path], *options: str, calling: str = MODALITY_AE, called: str = BOX_AE
) -> subprocess.CompletedProcess[str]:
    """Send files, each in its own transfer syntax."""
    titles = ("-aet", calling, "-aec", called)
    return run("dcmsend", "-v", *titles, *options, "127.0.0.1", port, *paths)


def echo(port: int, *, calling: str = MODALITY_AE, called: str = BOX_AE) -> subprocess.CompletedProcess[str]:
    """Ask whether somebody is there."""
    return run("echoscu", "-v", "-aet", calling, "-aec", called, "127.0.0.1", port)


_PROFILE = """\
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = LocalEndianExplicit
TransferSyntax2 = LittleEndianImplicit
[[PresentationContexts]]
[Some]
{contexts}
[[Profiles]]
[Few]
PresentationContexts = Some
"""


class StoreScp:
    """DCMTK's receiver: every object a file, its data set written as it came.

    With `takes`, DCMTK's names of SOP classes, it takes no others.
    """

    def __init__(
        self, folder: Path, ae_title: str, port: int | None = None, *, takes: Sequence[str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.takes = takes
        self.folder, self.ae_title = folder, ae_title
        self.port = free_ports(1)[0] if port is None else port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listen and answer."""
        which = ("+xa",) if self.takes is None else ("-xf", self._profile(self.takes), "Few")
        options = ("-aet", self.ae_title, "+B", *which, "+uf", "-od", self.folder)
        command = [need("storescp"), *map(str, options), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(
                lambda: echo(self.port, called=self.ae_title).returncode == 0,
                seconds=30,
                what="storescp answers",
            )
        except BaseException:
            self.stop()
            raise

    def _profile(self, takes: Sequence[str]) -> Path:
        names = ("VerificationSOPClass", *takes)
        contexts = [f"PresentationContext{n} = {name}\\Plain" for n, name in enumerate(names, 1)]
        path = self.folder.with_name(f"{self.folder.name}.cfg")
        path.write_text(_PROFILE.format(contexts="\n".join(contexts)))
        return path

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def files(self) -> list[Path]:
        """Return what came."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())
