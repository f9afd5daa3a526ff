"""A box under test, the words that it writes, and what may be asked of it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.demo.box import BOX_AE, Box, SiteShape
from appliance.demo.pacs import StandInPacs
from appliance.spool.extract import instances_in
from appliance.spool.frame import sum_of
from dicom_node.limits import Limits as WireLimits
from dicom_node.send import Outgoing, Sent, send
from tests.system.dcmtk import MODALITY_AE
from tests.system.waiting import until

PACS_AE = "PACS"
BANDS = """
[[routes]]
name = "bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""
_MODALITY = f"""
[[peers]]
name = "modality"
ae_title = "{MODALITY_AE}"
"""
_GONE_SECONDS_MAX = 20.0
COMMAND = (sys.executable, "-m", "appliance.cli")


def make_box(folder: Path, *, pacs_port: int, more: str = BANDS, **shape: Any) -> Box:
    """Write a box's configuration; nothing runs yet."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"pacs_ae": PACS_AE, "quiet_seconds": 1.0, "series_quiet_seconds": 0.5} | shape
    return Box(folder, SiteShape(pacs_port=pacs_port, more=_MODALITY + more, **values))


@contextmanager
def running(box: Box) -> Iterator[Box]:
    """Run a box; at the end nothing of it may be left, whatever the test did to it."""
    try:
        box.start()
        yield box
    finally:
        try:
            box.stop()
        finally:
            left = _wait_gone(box)
    assert not left, f"processes of the box outlived it: {left}"


class Pacs(StandInPacs):
    """The stand-in PACS, which comes back under the port that it had."""

    port = 0

    def start(self, port: int = 0) -> int:
        """Listen on loopback; return the port."""
        self.port = super().start(port or self.port)
        return self.port


def pacs_in(folder: Path) -> Pacs:
    """Make a stand-in PACS that takes what the box sends; it does not listen yet."""
    return Pacs(folder, PACS_AE, peers=[BOX_AE])


def processes_of(box: Box) -> dict[int, str]:
    """Return the processes that run with this box's configuration, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(box.config_path) in line:
                found[int(entry.name)] = line
    return found


def service_pid(box: Box, name: str) -> int | None:
    """Return the process of a service that runs now; the ledger may still name one that is gone."""
    pid = box.service_pids().get(name)
    return pid if pid is not None and f"service {name} " in processes_of(box).get(pid, "") else None


def _wait_gone(box: Box) -> dict[int, str]:
    """Wait until no process of the box is left; end those that stay, and return them."""
    try:
        until(lambda: not processes_of(box), seconds=_GONE_SECONDS_MAX, what="all processes of the box end")
    except AssertionError:
        left = processes_of(box)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left
    return {}


def store(box: Box, objects: Sequence[Outgoing], *, calling_ae: str = MODALITY_AE) -> list[Sent]:
    """Send images to the box over one association; return what it answered to each."""
    return list(send(box.as_peer, calling_ae=calling_ae, objects=objects, limits=WireLimits()))


def store_all(box: Box, objects: Sequence[Outgoing], *, calling_ae: str = MODALITY_AE) -> None:
    """Send images to the box, all of which it must acknowledge."""
    assert {sent.status for sent in store(box, objects, calling_ae=calling_ae)} == {0}


def settled(box: Box, study_uid: str, *, results: int = 1, seconds: float = 60.0) -> None:
    """Wait until a study has its results, nothing of it is on its way, and the box adds up."""
    until(
        lambda: box.account(study_uid).settled(results),
        seconds=seconds,
        what=f"{results} results of the study and all their deliveries",
    )
    assert box.account(study_uid).balance == 0


def spooled(box: Box) -> Counter[bytes]:
    """Return every data set that lies in the spool, and how often."""
    found: Counter[bytes] = Counter()
    for one in instances_in(box.config.storage.root / "kept"):
        # A second copy goes as soon as its row shows that the box had it: it may go while we look.
        with suppress(FileNotFoundError):
            data = b"".join(one.pieces())
            found[data] += sum_of(data) == one.sum64
    return found


def log_of(box: Box) -> list[dict[str, Any]]:
    """Return the log's events; a line that is no event is a fault of the box."""
    lines = box.log_path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def words(box: Box) -> Counter[str]:
    """Return how often each word stands in the log."""
    return Counter(entry["event"] for entry in log_of(box))


def readside(*arguments: object, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def why(box: Box, study_uid: str) -> str:
    """Return what `readside why` says of a study."""
    return _looked(box, "why", study_uid)


def status(box: Box) -> dict[str, Any]:
    """Return what `readside status --json` says."""
    report: dict[str, Any] = json.loads(_looked(box, "status", "--json"))
    return report


def _looked(box: Box, *command: str) -> str:
    """Ask a command that only looks, in this process: to start one costs more than all that it does."""
    said = CliRunner().invoke(app, [*command, "--config", str(box.config_path)])
    assert said.exit_code == 0, said.output
    return said.stdout
