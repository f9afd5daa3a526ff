"""Send a browser through a list of series, and read what it saw.

The walk itself is browse.mjs; here is what goes in and what comes out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.system.programs import need
from tests.viewers.packages import OHIF, PLAYWRIGHT, Package

_SECONDS_MAX = 1200
_CANVAS_STEP = 100.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One series to open.

    Attributes:
        name: what the pictures and notes are called.
        hope: what to wait for, once the series is in the viewport: "shapes", "page" (with `words`), "image",
            "prompt" or "document"; "warned" is a series that the viewer's list says it cannot show, "refused"
            one that it tries to read and gives up, with `words` in its log.
        panel: press the viewer's Yes afterwards and open this side panel; None presses nothing.
    """

    name: str
    study_uid: str
    series_uid: str
    series: str
    series_number: int
    hope: str
    words: str = ""
    panel: str | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape that was drawn, by its bounding box in CSS pixels of the canvas."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the browser showed at one moment.

    Attributes:
        text: all text on the screen; `page` is that of the viewport, `words` what is written on the image.
        toasts: messages that the viewer popped up.
        warned: whether the viewer's list says that it cannot show this series.
        measured: how many measurements the viewer counts as its own; `segments` names its segments.
        screen: the picture of all of it.
        canvas: the image area alone, uint8, (row, column, rgb).
    """

    text: str
    page: str
    words: tuple[str, ...]
    shapes: tuple[Shape, ...]
    toasts: tuple[str, ...]
    warned: bool
    measured: int
    segments: tuple[str, ...]
    image: str
    screen: Path
    canvas: npt.NDArray[np.uint8] | None
    _world: npt.NDArray[np.float64] | None

    def world_mm(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points (x, y) of the canvas to the patient, in mm, LPS, as the viewer itself maps them."""
        assert self._world is not None, "no image is shown"
        origin, along_x, along_y = self._world
        axes = np.stack([along_x - origin, along_y - origin]) / _CANVAS_STEP
        return np.asarray(origin + np.asarray(points, dtype=np.float64) @ axes)

    def canvas_xy(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of the shown plane in mm, LPS, to (x, y) of the canvas."""
        assert self._world is not None, "no image is shown"
        origin, along_x, along_y = self._world
        axes = np.stack([along_x - origin, along_y - origin]) / _CANVAS_STEP
        return np.asarray((np.asarray(points_mm, dtype=np.float64) - origin) @ np.linalg.pinv(axes))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one step showed: after opening, and after the viewer's Yes when there was one.

    Attributes:
        said: errors in the viewer's own log; `fault` is what kept the walk from going on.
    """

    name: str
    hope: str
    fault: str
    said: tuple[str, ...]
    open: Look
    loaded: Look | None


def require(package: Package) -> Path:
    """Return a package's folder; without it the test is skipped, and under CI it fails."""
    if package.here:
        return package.folder
    reason = f"{package.name} {package.version} was not fetched from npm, see scripts/test"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI it must be")
    pytest.skip(reason)


def viewer() -> Path:
    """Return the folder of the built viewer."""
    return require(OHIF) / "dist"


def driver() -> Path:
    """Return the folder of the browser's driver."""
    return require(PLAYWRIGHT)


def browse(address: str, steps: Sequence[Step], folder: Path) -> dict[str, Seen]:
    """Walk through all steps; pictures and notes stay in the folder."""
    plan = {
        "base": address,
        "playwright": str(driver()),
        "chromium": need("chromium"),
        "profile": str(folder / "profile"),
        "out": str(folder),
        "groups": [[vars(step) for step in group] for group in _grouped(steps)],
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    command = [need("node"), str(Path(__file__).with_name("browse.mjs")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "profile", ignore_errors=True)
    return {step.name: _read(step, folder) for step in steps}


def _grouped(steps: Sequence[Step]) -> list[list[Step]]:
    """Put the steps of one study on one page; a step that loads something has its own.

    What the viewer cannot show comes last: its message stays for a while.
    """
    shared: dict[str, list[Step]] = {}
    for step in sorted(steps, key=lambda step: step.hope == "warned"):
        alone = step.panel is not None or step.hope == "refused"
        shared.setdefault(step.name if alone else step.study_uid, []).append(step)
    return list(shared.values())


def _read(step: Step, folder: Path) -> Seen:
    notes = json.loads((folder / f"{step.name}.json").read_text(encoding="utf-8"))
    return Seen(
        name=step.name,
        hope=step.hope,
        fault=notes.get("fault", ""),
        said=tuple(notes.get("said") or ()),
        open=_look(notes.get("open") or {}, step, folder / f"{step.name}.png"),
        loaded=_look(notes["loaded"], step, folder / f"{step.name}-loaded.png")
        if "loaded" in notes
        else None,
    )


def _look(notes: dict[str, Any], step: Step, screen: Path) -> Look:
    world = notes.get("world")
    canvas = screen.with_name(f"{screen.stem}-canvas.png")
    return Look(
        text=notes.get("text") or "",
        page=notes.get("page") or "",
        words=tuple(notes.get("words") or ()),
        shapes=tuple(Shape(**shape) for shape in notes.get("shapes") or ()),
        toasts=tuple(notes.get("toasts") or ()),
        warned=bool((notes.get("warned") or {}).get(step.series_uid)),
        measured=int(notes.get("measured") or 0),
        segments=tuple(notes.get("segments") or ()),
        image=notes.get("image") or "",
        screen=screen,
        canvas=pixels(canvas) if canvas.exists() else None,
        _world=np.array(world) if world else None,
    )


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture: uint8, (row, column, rgb)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
