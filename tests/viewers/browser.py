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

_SECONDS_MAX = 600
_CANVAS_STEP = 100.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One series to open.

    Attributes:
        name: what the pictures and notes are called.
        hope: what to wait for: "shapes", "page" (with `words`), "image" (another one) or "prompt".
        panel: press the viewer's Yes afterwards and open this side panel; None presses nothing.
    """

    name: str
    study_uid: str
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
    """What the browser showed at one moment; `canvas` is the image area alone, (row, column, rgb)."""

    text: str
    page: str
    words: tuple[str, ...]
    shapes: tuple[Shape, ...]
    image: str
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
    """What one step showed: after opening, and after the viewer's Yes when there was one."""

    name: str
    fault: str
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
        "steps": [vars(step) for step in steps],
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    command = [need("node"), str(Path(__file__).with_name("browse.mjs")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "profile", ignore_errors=True)
    return {step.name: _read(step.name, folder) for step in steps}


def _read(name: str, folder: Path) -> Seen:
    notes = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return Seen(
        name=name,
        fault=notes.get("fault", ""),
        open=_look(notes.get("open") or {}, folder / f"{name}-canvas.png"),
        loaded=_look(notes["loaded"], folder / f"{name}-loaded-canvas.png") if "loaded" in notes else None,
    )


def _look(notes: dict[str, Any], canvas: Path) -> Look:
    world = notes.get("world")
    return Look(
        text=notes.get("text") or "",
        page=notes.get("page") or "",
        words=tuple(notes.get("words") or ()),
        shapes=tuple(Shape(**shape) for shape in notes.get("shapes") or ()),
        image=notes.get("image") or "",
        canvas=_pixels(canvas) if canvas.exists() else None,
        _world=np.array(world) if world else None,
    )


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
