"""Play the demonstration: start a box and a stand-in PACS, send a study, wait for the results, check them."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from dicom_node.send import send
from rich.console import Console as Screen
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from appliance.core import log
from appliance.core.config import Config, load
from appliance.demo.checks import faults
from appliance.demo.pacs import Came, StandInPacs
from appliance.demo.study import MadeStudy
from appliance.ledger import counts, results
from appliance.ledger.engine import open_ledger
from appliance.ledger.tokens import TokenKind, issue
from dicom_node.limits import Limits as WireLimits
from dicom_node.values import AeTitle, Peer
from models import phantom

_USER = "demo"
_BOX_AE, _PACS_AE = "READSIDE", "STANDINPACS"
_START_SECONDS_MAX = 60.0
_RESULT_SECONDS_MAX = 300.0
_LINK_SECONDS = 24 * 3600.0
_SHAPE, _SPACING_MM, _SEED = (48, 256, 256), (3.0, 0.9, 0.9), 7

_CONFIG = """\
[site]
name = "Demonstration"

[dicom]
ae_title = "{box_ae}"
host = "127.0.0.1"
port = {box_port}

[[peers]]
name = "pacs"
ae_title = "{pacs_ae}"
host = "127.0.0.1"
port = {pacs_port}
outputs = ["sr", "seg", "sc", "text-sr"]

[storage]
root = "{root}"
floor_gib = 0.2

[assembly]
quiet_seconds = 2.0
series_quiet_seconds = 1.0
deadline_seconds = 600

[[routes]]
name = "tissue-bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["pacs"]

[[routes]]
name = "phantom-lesion"
when = 'Modality == "CT" && SeriesDescription.startsWith("STD HEAD")'
model = "ct-phantom-lesion"
send_to = ["pacs"]

[console]
host = "127.0.0.1"
port = {console_port}

[[console.users]]
name = "{user}"
password_hash = "{password_hash}"
"""


class DemoFailed(Exception):
    """The demonstration did not come to its end; the message says where and what to look at."""


@dataclass
class Box:
    """A box that runs as a site would run it: `readside run`, in a process of its own."""

    folder: Path
    pacs_port: int
    config_path: Path = field(init=False)
    config: Config = field(init=False)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Write the configuration; the console user's password is known to nobody, the link logs in."""
        box_port, console_port = free_ports(2)
        self.config_path = self.folder / "site.toml"
        self.config_path.write_text(
            _CONFIG.format(
                box_ae=_BOX_AE,
                box_port=box_port,
                pacs_ae=_PACS_AE,
                pacs_port=self.pacs_port,
                console_port=console_port,
                root=self.folder / "box",
                user=_USER,
                password_hash=PasswordHasher().hash(secrets.token_urlsafe(24)),
            ),
            encoding="utf-8",
        )
        self.config = load(self.config_path)

    @property
    def console(self) -> str:
        """Return the address of the console."""
        return f"http://127.0.0.1:{self.config.console.port}"

    def start(self) -> None:
        """Start the box and wait until it says that it is ready.

        Raises:
            DemoFailed: it did not get ready in time.
        """
        command = [sys.executable, "-m", "appliance.cli", "run", "--config", str(self.config_path)]
        with (self.folder / "box.log").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise DemoFailed("the box did not get ready")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.console}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """Stop the box in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)

    def login_link(self, study_uid: str) -> str:
        """Return an address that logs in once and shows a study."""
        ledger = open_ledger(self.config.ledger_url)
        with ledger.write() as tx:
            token = issue(tx, TokenKind.LOGIN_LINK, _USER, at=ledger.clock.now(), seconds=_LINK_SECONDS)
        ledger.close()
        return f"{self.console}/login/once/{token}?next=/studies/{study_uid}"

    def account(self, study_uid: str) -> dict[str, Any]:
        """Return what the ledger says: the balance, and the seconds that raw inference took."""
        ledger = open_ledger(self.config.ledger_url)
        with ledger.read() as tx:
            counted = counts.count(tx)
            made = results.of_study(tx, study_uid)
        ledger.close()
        return {
            "balance": counted.balance,
            "kept": counted.kept,
            "results": {result.route: str(result.outcome) for result in made},
            "raw_inference": sum(result.seconds.get("inference", 0.0) for result in made),
        }


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody uses right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def made_up_study(shape: tuple[int, int, int] = _SHAPE) -> MadeStudy:
    """Make the study that the demonstration sends: a head phantom with two lesions."""
    hu, _ = phantom.volume(_SEED, shape=shape, spacing_mm=_SPACING_MM, lesions=2)
    return MadeStudy(hu=hu, spacing_mm=_SPACING_MM, number=int(time.time() * 1000))


def play(*, as_json: bool, keep: Path | None, stay_seconds: float | None) -> int:
    """Play the whole demonstration; return the exit code."""
    log.silence()
    screen = Screen(stderr=as_json, highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="readside-demo-")) if keep is None else keep.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pacs = StandInPacs(folder / "pacs", _PACS_AE, peers=[_BOX_AE])
    box = Box(folder, pacs.start())
    try:
        report = _perform(box, pacs, screen)
        _show(report, screen, folder)
        if as_json:
            print(json.dumps(report), flush=True)
        _stay(stay_seconds, screen)
    except DemoFailed as error:
        screen.print(
            f"The demonstration failed: {error}. The box's log is {folder / 'box.log'}", markup=False
        )
        if as_json:
            print(json.dumps({"ok": False, "error": str(error)}), flush=True)
        return 1
    finally:
        box.stop()
        pacs.stop()
    return 0 if report["ok"] else 1


def _perform(box: Box, pacs: StandInPacs, screen: Screen) -> dict[str, Any]:
    """Send, wait, check; return the report that `--json` prints."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<42}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen) as progress:
        with _step(progress, "Starting the box"):
            box.start()
        with _step(progress, "Making up a CT study"):
            study = made_up_study()
        with _step(progress, f"Sending {len(study.hu)} images by C-STORE", total=len(study.hu)) as task:
            receive_seconds = _send(study, box, progress, task)
        sent_at = time.monotonic()
        with _step(progress, "Complete, analysed, encoded, delivered", total=len(box.config.routes)) as task:
            came = _await_results(box, pacs, study, progress, task)
        with _step(progress, "Checking what came back"):
            found = faults(study, came)
            account = box.account(study.study_uid)
    if account["balance"]:
        found.append(f"the box's counts are off by {account['balance']}")
    return {
        "ok": not found,
        "faults": found,
        "study_uid": study.study_uid,
        "results": [
            {
                "path": str(one.path),
                "modality": one.modality,
                "sop_class_uid": one.sop_class_uid,
                "series_description": one.series_description,
            }
            for one in came
        ],
        "outcomes": account["results"],
        "seconds": {
            "receive": round(receive_seconds, 3),
            "last_slice_to_accepted": round(max(one.at for one in came) - sent_at, 3),
            "raw_inference": round(account["raw_inference"], 3),
        },
        "console": box.login_link(study.study_uid),
    }


@contextmanager
def _step(progress: Progress, text: str, total: int | None = None) -> Iterator[TaskID]:
    task = progress.add_task(text, total=total)
    yield task
    done = total or 1
    progress.update(task, total=done, completed=done)


def _send(study: MadeStudy, box: Box, progress: Progress, task: TaskID) -> float:
    """Send every image over one association, as a PACS would; return the seconds until the last answer."""
    objects = list(study.instances())
    peer = Peer(
        name="box",
        ae_title=AeTitle.parse(_BOX_AE),
        host="127.0.0.1",
        port=box.config.dicom.port,
        may=frozenset(),
    )
    started = time.monotonic()
    for sent in send(peer, calling_ae=_PACS_AE, objects=objects, limits=WireLimits()):
        if sent.outcome != "accepted":
            raise DemoFailed(f"the box answered {sent.word} to an image")
        progress.advance(task)
    return time.monotonic() - started


def _await_results(
    box: Box, pacs: StandInPacs, study: MadeStudy, progress: Progress, task: TaskID
) -> Sequence[Came]:
    """Wait until a report of every route came and nothing more is on its way."""
    deadline = time.monotonic() + _RESULT_SECONDS_MAX
    while time.monotonic() < deadline:
        came = pacs.came_for(study.study_uid)
        # Each result has its own series for each kind of report; one report a route is the least that must
        # come.
        reports = {one.series_description for one in came if one.modality == "SR"}
        progress.update(task, completed=min(len(reports), len(box.config.routes)))
        if _all_delivered(box, study):
            return pacs.came_for(study.study_uid)
        time.sleep(0.1)
    raise DemoFailed(f"no complete result came within {_RESULT_SECONDS_MAX:g} s")


def _all_delivered(box: Box, study: MadeStudy) -> bool:
    ledger = open_ledger(box.config.ledger_url)
    with ledger.read() as tx:
        counted = counts.count(tx)
        made = len(results.of_study(tx, study.study_uid))
    ledger.close()
    return made == len(box.config.routes) and set(counted.deliveries) == {"ACCEPTED"}


def _show(report: dict[str, Any], screen: Screen, folder: Path) -> None:
    screen.print()
    for result in report["results"]:
        screen.print(
            f"  {result['modality']:<4} {result['series_description']:<64} {result['path']}", markup=False
        )
    for route, outcome in report["outcomes"].items():
        screen.print(f"  {route}: {outcome}", markup=False)
    seconds = report["seconds"]
    screen.print(
        f"\nReceived in {seconds['receive']:.2f} s. From the last image to the last result accepted: "
        f"{seconds['last_slice_to_accepted']:.2f} s, of which 2 s are the quiet time and "
        f"{seconds['raw_inference']:.2f} s raw inference.",
        markup=False,
    )
    for fault in report["faults"]:
        screen.print(f"WRONG: {fault}", markup=False)
    verdict = (
        "Everything that came back was checked against the images that were sent"
        if report["ok"]
        else "FAILED"
    )
    screen.print(f"{verdict}. Files: {folder}", markup=False)
    screen.print(f"Console, logs in once: {report['console']}", markup=False)


def _stay(seconds: float | None, screen: Screen) -> None:
    """Keep the console up for a person who wants to look."""
    if seconds is None and sys.stdin.isatty() and screen.is_terminal:
        seconds = _LINK_SECONDS
        screen.print("The box runs until you press Ctrl-C.")
    elif seconds is None:
        screen.print("The box stops now; add --stay 600 to look at the console for ten minutes.")
    if seconds:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait(seconds)
