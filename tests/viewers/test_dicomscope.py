"""Presentation states in DICOMscope, the reference viewer for them: outlines on the lesions, names, words.

It needs the Debian packages dicomscope, xvfb, xdotool and imagemagick, which `scripts/test --long` installs.
Driven by its windows, for it has no other door; its screen is always of one size, so its buttons stay put.
The picture of the whole screen lies in `build/viewers-dicomscope` afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from appliance.results.encode import encode
from models.tensors import BoolArray
from tests.appliance.results import given
from tests.appliance.results.test_softcopy import stored
from tests.system.programs import need
from tests.viewers.conftest import SHOTS

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_JAR, _CONFIG = Path("/usr/share/java/DICOMscope.jar"), Path("/etc/dcmtk/DICOMscope.cfg")
_IMAGES_IN_CONFIG = "/var/lib/dcmtk/db/READWRITE"
_PROGRAMS = ("dicomscope", "java", "Xvfb", "xdotool", "import")
# Where things are on the screen: x, y.
_SCREEN = "1600x1100x24"
_OPEN_IMAGE, _OPEN_STATE, _VIEWER_TAB, _FILE_NAME = (28, 14), (101, 14), (104, 41), (800, 621)
# The canvas once a presentation state of one image is open, without its frame: rows, columns.
_CANVAS = np.s_[69:1029, 8:1332]
_SIZE, _SLICE = 256, 2
# This viewer draws about a pixel of the image up and to the left of where the file says, in lines of a pixel.
_OFF_PIXELS = 3
# In points of the screen: a name stands so far right of its mark and above it, or below it near the top.
_NAME_OFF, _NAME_SIZE, _TOP = 50, (70, 20), 100
_HALF_A_LOOK = 12
_WHITE = 250
_WORDS_FROM_ROW = 200
_SECONDS_MAX = 240.0
_SHOTS = SHOTS.with_name("viewers-dicomscope")

# Row, column, radius.
LESIONS = ((60, 80, 30), (150, 195, 12), (105, 225, 5), (12, 240, 5))


def until(what: str, done: Callable[[], str]) -> str:
    """Wait until something is there; a viewer in Java on a busy machine takes a minute to start."""
    end = time.monotonic() + _SECONDS_MAX
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.5)
    pytest.fail(f"{what} did not come")


class Screen:
    """An X server of its own with the viewer on it."""

    def __init__(self, number: str, folder: Path) -> None:
        self._environment = os.environ | {"DISPLAY": f":{number}"}
        self._folder = folder

    def tell(self, *words: object) -> str:
        """Let xdotool do something, and give its answer."""
        told = ["xdotool", *map(str, words)]
        return subprocess.run(
            told, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip()

    def start(self, config: Path) -> subprocess.Popen[bytes]:
        """Start the viewer."""
        command = ["java", "-jar", str(_JAR), str(config)]
        with (self._folder / "viewer.log").open("wb") as log:
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, cwd=self._folder)

    def click(self, place: tuple[int, int]) -> None:
        """Press the mouse at a place."""
        self.tell("mousemove", *place, "click", 1)

    def open(self, button: tuple[int, int], title: str, path: Path) -> None:
        """Open a file by the dialog that a button brings."""
        self.click(button)
        window = until(title, lambda: self._windows(title))
        # No window manager gives it the keyboard, and its fields come after its frame.
        time.sleep(4)
        self.tell("windowfocus", window.split()[0])
        self.click(_FILE_NAME)
        time.sleep(1)
        self.tell("type", "--delay", 40, path)
        self.tell("key", "Return")
        until(f"the end of {title}", lambda: "" if self._windows(title) else "gone")

    def _windows(self, title: str) -> str:
        return self.tell("search", "--onlyvisible", "--name", title)

    def picture(self) -> npt.NDArray[np.uint8]:
        """Take a picture of all of it: uint8, (row, column)."""
        path = self._folder / "screen.png"
        subprocess.run(
            ["import", "-window", "root", str(path)], env=self._environment, timeout=60, check=True
        )
        with Image.open(path) as taken:
            return np.array(taken.convert("L"))


@contextmanager
def viewer(folder: Path) -> Iterator[Screen]:
    """Run DICOMscope on a screen that nobody sees."""
    for program in _PROGRAMS:
        need(program)
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", _SCREEN, "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    started: list[subprocess.Popen[bytes]] = [server]
    try:
        screen = Screen(os.read(read, 16).decode().strip(), folder)
        (folder / "images").mkdir()
        config = folder / "viewer.cfg"
        config.write_text(_CONFIG.read_text().replace(_IMAGES_IN_CONFIG, str(folder / "images")))
        started.append(screen.start(config))
        until("the viewer", lambda: "here" if (screen.picture() > 200).mean() > 0.5 else "")
        yield screen
    finally:
        os.close(read)
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)


def masks(shape: tuple[int, ...]) -> list[BoolArray]:
    """Mark discs on one slice."""
    here = (np.arange(shape[0]) == _SLICE)[:, None, None]
    return [given.ball(shape, (_SLICE, row, column), radius) & here for row, column, radius in LESIONS]


def on_screen(folder: Path) -> tuple[npt.NDArray[np.uint8], BoolArray]:
    """Show a presentation state of several lesions; give the canvas and the lesions' mask."""
    made = given.series(rows=_SIZE, columns=_SIZE, spacing_mm=(0.5, 0.5))
    marks = masks(made.volume.shape)
    whole = np.logical_or.reduce(marks)
    findings = replace(
        given.lesions(made.volume),
        segments=(given.segment("lesion", 1, whole, given.LESION),),
        lesions=tuple(given.lesion(str(number), mask) for number, mask in enumerate(marks, start=1)),
    )
    objects = encode(
        given.context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"gsps"}),
    )
    state = given.write(given.only(objects, "gsps")[0], folder, "state")
    image = folder / "image.dcm"
    stored(made.sources[_SLICE], made.volume.voxels[_SLICE]).save_as(image, enforce_file_format=True)
    with viewer(folder) as screen:
        screen.open(_OPEN_IMAGE, "Open DICOM File", image)
        screen.click(_VIEWER_TAB)
        time.sleep(5)
        screen.open(_OPEN_STATE, "Open Presentation State", state)
        until("the marks", lambda: "here" if (screen.picture()[_CANVAS] > _WHITE).sum() > 500 else "")
        canvas = screen.picture()[_CANVAS]
    _SHOTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "screen.png", _SHOTS / "gsps.png")
    return canvas, whole[_SLICE]


def test_a_presentation_state_is_drawn_on_the_lesions_with_names_and_words(tmp_path: Path) -> None:
    canvas, inside = on_screen(tmp_path)
    scale = shown_size(canvas) / _SIZE
    white = on_the_image(canvas, scale) > _WHITE
    edge = inside & ~ndimage.binary_erosion(inside)
    near = ndimage.binary_dilation(white, iterations=_OFF_PIXELS)
    assert (near & edge).sum() > 0.95 * edge.sum(), "every outline is drawn"
    assert not white[ndimage.binary_erosion(inside, iterations=2 * _OFF_PIXELS)].any(), "nothing covers them"
    assert white[_WORDS_FROM_ROW:].sum() > 200, "there are words below"
    for row, column, radius in LESIONS:
        right, middle = round((column + radius) * scale), round(row * scale)
        check_name(canvas > _WHITE, right, middle)


def check_name(white: BoolArray, x: int, y: int) -> None:
    """Check that a name stands beside a mark, by the right end (x, y) of the mark on the screen."""
    wide, high = _NAME_SIZE
    down = _NAME_OFF if y < _TOP else -_NAME_OFF
    name = white[y + down - high : y + down + high // 2, x + _NAME_OFF - 5 : x + _NAME_OFF + wide]
    assert 30 < name.sum() < 0.2 * name.size, "its name is written beside it"
    # Half of the way to it there is nothing but the line that joins them.
    row, column, half = y + down // 2, x + _NAME_OFF // 2, _HALF_A_LOOK
    between = white[row - half : row + half, column - half : column + half]
    assert half // 2 <= between.sum() < 4 * half, "a line leads to it"


def shown_size(canvas: npt.NDArray[np.uint8]) -> int:
    """Give how large the image is on the screen; it is square, and fills the canvas from top to bottom."""
    lit = canvas > 20
    height, width = (int(np.flatnonzero(lit.mean(axis=1 - axis) > 0.3)[-1]) + 1 for axis in (0, 1))
    assert abs(height - width) < 0.02 * height, "the image is shown square"
    return height


def on_the_image(canvas: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """Give the brightest point of the screen in each pixel of the image."""
    size = int(_SIZE * scale)
    bright = np.zeros((_SIZE, _SIZE), dtype=np.uint8)
    at = (np.arange(size) / scale).astype(int)
    np.maximum.at(bright, (at[:, None], at[None]), canvas[:size, :size])
    return bright
