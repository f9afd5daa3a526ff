"""Play the demonstration: start a box and a stand-in PACS, send a study, wait for the results, check them."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console as Screen
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from appliance.core import log
from appliance.demo.box import BOX_AE, Box, NotReady, SiteShape
from appliance.demo.checks import faults
from appliance.demo.pacs import Came, StandInPacs
from appliance.demo.study import MadeStudy
from dicom_node.limits import Limits as WireLimits
from dicom_node.send import send
from models import phantom

PACS_AE = "STANDINPACS"
_RESULT_SECONDS_MAX = 300.0
_MODELS_SECONDS_MAX = 60.0
_STAY_SECONDS_MAX = 24 * 3600.0
_QUIET_SECONDS = 2.0
_SHAPE, _SPACING_MM, _SEED = (48, 256, 256), (3.0, 0.9, 0.9), 7
ROUTES = """
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
"""


class DemoFailed(Exception):
    """The demonstration did not come to its end; the message says where and what to look at."""


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
    pacs = StandInPacs(folder / "pacs", PACS_AE, peers=[BOX_AE])
    site = SiteShape(pacs_ae=PACS_AE, pacs_port=pacs.start(), quiet_seconds=_QUIET_SECONDS, more=ROUTES)
    box = Box(folder, site)
    try:
        report = perform(box, pacs, screen)
        _show(report, screen, folder)
        if as_json:
            print(json.dumps(report), flush=True)
        _stay(stay_seconds, screen)
    except (DemoFailed, NotReady) as error:
        screen.print(f"The demonstration failed: {error}. The box's log is {box.log_path}", markup=False)
        if as_json:
            print(json.dumps({"ok": False, "error": str(error)}), flush=True)
        return 1
    finally:
        box.stop()
        pacs.stop()
    return 0 if report["ok"] else 1


def perform(box: Box, pacs: StandInPacs, screen: Screen) -> dict[str, Any]:
    """Send, wait, check; return the report that `--json` prints."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<42}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen) as progress:
        with _step(progress, "Starting the box"):
            box.start()
        with _step(progress, "Making up a CT study"):
            study = made_up_study()
        with _step(progress, "Loading the models and checking them here"):
            _await_models(box)
        with _step(progress, f"Sending {len(study.hu)} images by C-STORE", total=len(study.hu)) as task:
            receive_seconds = _send(study, box, progress, task)
        sent_at = time.monotonic()
        with _step(progress, "Complete, analysed, encoded, delivered", total=len(box.config.routes)) as task:
            came = _await_results(box, pacs, study, progress, task)
        with _step(progress, "Checking what came back"):
            found = faults(study, came)
            account = box.account(study.study_uid)
    if account.balance:
        found.append(f"the box's counts are off by {account.balance}")
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
        "outcomes": dict(account.outcomes),
        "seconds": {
            "receive": round(receive_seconds, 3),
            "last_slice_to_accepted": round(max(one.at for one in came) - sent_at, 3),
            "raw_inference": round(account.raw_inference_seconds, 3),
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
    started = time.monotonic()
    for sent in send(box.as_peer, calling_ae=PACS_AE, objects=objects, limits=WireLimits()):
        if sent.outcome != "accepted":
            raise DemoFailed(f"the box answered {sent.word} to an image")
        progress.advance(task)
    return time.monotonic() - started


def _await_models(box: Box) -> None:
    """Wait until the models are loaded, so that the times shown are a box's in service; go on in any case."""
    deadline = time.monotonic() + _MODELS_SECONDS_MAX
    while time.monotonic() < deadline and not box.models_loaded:
        time.sleep(0.1)


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
        if box.account(study.study_uid).settled(len(box.config.routes)):
            return pacs.came_for(study.study_uid)
        time.sleep(0.1)
    raise DemoFailed(f"no complete result came within {_RESULT_SECONDS_MAX:g} s")


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
        f"{seconds['last_slice_to_accepted']:.2f} s, of which {_QUIET_SECONDS:g} s are the quiet time and "
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
        seconds = _STAY_SECONDS_MAX
        screen.print("The box runs until you press Ctrl-C.")
    elif seconds is None:
        screen.print("The box stops now; add --stay 600 to look at the console for ten minutes.")
    if seconds:
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait(seconds)
