"""The preview in a real browser: what a person sees, and what keys, wheel and buttons do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from appliance.console.serve import Serving
from appliance.core.words import Outcome
from appliance.ledger import custody
from tests.appliance.console.chromium import CHROMIUM, Browser
from tests.appliance.console.filling import Console
from tests.appliance.console.previewing import Previewed, Template, again, analysed, noticed, recorded
from tests.appliance.results.given import read
from tests.appliance.worker.given import content, ct
from tests.geometry.boxed import analysed as run
from tests.geometry.networks import package
from tests.geometry.phantom import Scan, radiograph, written
from tests.geometry.reading import groups

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

SIZE = 160
AXIAL = Scan(row=(1, 0, 0), column=(0, 1, 0), rows=SIZE, columns=SIZE, spacing_mm=(0.6, 0.6))
POSITION = "(document.querySelector('#position')?.textContent ?? '')"
Bools = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """30 CT images with eight marks in one segment."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "images").mkdir()
    written(AXIAL, folder / "images")
    return analysed(folder / "images", run(package("regions", "CT", folder), folder / "images"))


@contextmanager
def served(console: Console, browser: Browser) -> Iterator[str]:
    """Serve a console on loopback; the browser leaves before it closes."""
    serving = Serving(console.app, host="127.0.0.1", port=0)
    port = serving.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        browser.open("about:blank")
        browser.until("location.href", lambda address: address == "about:blank")
        serving.stop()
        console.app.state.room.desk.close()


def enter(browser: Browser, base: str, shown: Previewed) -> None:
    """Log in and open a result's page; wait until its first image is there."""
    browser.said.clear()
    browser.open(f"{base}{shown.console.link()}?next={shown.page}")
    browser.until(f"location.pathname === '{shown.page}' && {POSITION}", settled)


def settled(position: str) -> bool:
    return position.startswith("Image") and "loading" not in position


def at(browser: Browser, number: int) -> None:
    """Wait until an image is shown."""
    browser.until(POSITION, lambda text: settled(text) and text.startswith(f"Image {number} of"))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the image area lies on the page, in CSS pixels, without the words below the image."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, browser: Browser) -> Stage:
        """Ask the page."""
        script = (
            "(() => { const b = document.querySelector('#screen').getBoundingClientRect();"
            " return [b.x + 1, b.y + 1, b.width - 2,"
            " b.height - 2 - document.querySelector('#said').offsetHeight]; })()"
        )
        left, top, width, height = browser.run(script)
        return cls(left=left, top=top, width=width, height=height)

    def cut(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Cut the image area out of a picture of the page."""
        top, left = round(self.top), round(self.left)
        return picture[top : top + int(self.height), left : left + int(self.width)]

    def coloured(self, browser: Browser) -> Bools:
        """Find the pixels in the overlay's colour, in the image area."""
        shown = self.cut(browser.picture()).astype(int)
        red, green, blue = shown[..., 0], shown[..., 1], shown[..., 2]
        # Both marks' and default's colours have much more red than green; greys have none.
        found: Bools = (red - green > 60) & (red > blue - 20)
        return found


def edge_of(mask: Bools, stage: Stage, zoom: float = 1.0) -> Bools:
    """Draw the edges of a mask on the stage where the page must have them, one pixel wide."""
    scale = min(stage.width, stage.height) / SIZE * zoom
    rows, columns = np.mgrid[: int(stage.height), : int(stage.width)] + 0.5
    row = np.floor((rows - (stage.height - SIZE * scale) / 2) / scale).astype(int)
    column = np.floor((columns - (stage.width - SIZE * scale) / 2) / scale).astype(int)
    inside = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE)
    grown = np.zeros_like(inside)
    grown[inside] = mask[row[inside], column[inside]]
    edge: Bools = grown & ~ndimage.binary_erosion(grown)
    return edge


def mask_on_first(template: Template) -> Bools:
    """The segmentation's mask on the image that the page opens with."""
    seg = read(next(item for item in template.objects if item.output == "seg"))
    report = read(next(item for item in template.objects if item.output == "sr"))
    wanted = groups(report)[0].lines[0].image[0]
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID == wanted:
            return np.asarray(frame == 1)
    raise AssertionError("the first mark's image has a frame")


def test_the_outline_lies_on_the_mark_and_goes_when_it_is_turned_off(browser, console, template):
    shown = recorded(console, template)
    mask = mask_on_first(template)
    with served(console, browser) as base:
        enter(browser, base, shown)
        at(browser, 22)
        for zoom in (0, 2):
            for _ in range(zoom):
                browser.press("+")
            stage = Stage.of(browser)
            edge = edge_of(mask, stage, 1.25**zoom)
            assert edge.sum() > 500
            drawn = stage.coloured(browser)
            near = ndimage.distance_transform_edt(~drawn)
            assert near[edge].max() <= 3, "every edge of the mask is drawn"
            # The dashed rectangles of the report lie around the marks, never in them.
            core = ndimage.binary_erosion(ndimage.binary_fill_holes(edge), iterations=4)
            assert core.sum() > 500
            assert not drawn[core].any(), "and nothing is drawn over the mark itself"
        browser.press("o")
        assert not stage.coloured(browser).any()
        assert browser.run("document.querySelector('#toggle').getAttribute('aria-pressed')") == "false"
        browser.press(" ")
        assert stage.coloured(browser).sum() == drawn.sum()
        browser.click("#toggle")
        assert not stage.coloured(browser).any()
    assert browser.said == []


def test_keys_wheel_slider_and_list_lead_through_the_images(browser, console, template):
    shown = recorded(console, template)
    with served(console, browser) as base:
        enter(browser, base, shown)
        at(browser, 22)
        steps = {"ArrowDown": 23, "ArrowRight": 24, "ArrowUp": 23, "PageUp": 13, "End": 30, "PageDown": 30}
        for key, number in [*steps.items(), ("Home", 1), ("ArrowLeft", 1), ("PageDown", 11)]:
            browser.press(key)
            at(browser, number)
        images = [group.lines[0].image[0] for group in groups(read(shown.object("sr")))]
        order = sorted(shown.instances, key=lambda one: one.facts["ImagePositionPatient"][2])
        numbers = [[one.sop_instance_uid for one in order].index(image) + 1 for image in images]
        for key, mark in (("2", 1), ("8", 7), ("n", 0), ("p", 7), ("1", 0)):
            browser.press(key)
            at(browser, numbers[mark])
            named = browser.run("document.querySelector('#marks [aria-current]').textContent")
            assert named.startswith(f"{mark + 1}. mark {mark + 1}")
        stage = Stage.of(browser)
        browser.wheel(stage.left + 200, stage.top + 200, 120)
        at(browser, numbers[0] + 1)
        browser.wheel(stage.left + 200, stage.top + 200, -120)
        at(browser, numbers[0])
        browser.run("(() => { const s = document.querySelector('#slider'); s.value = 5;"
                    " s.dispatchEvent(new Event('input')); })()")  # fmt: skip
        at(browser, 5)
        browser.click("#marks li:nth-child(3) button")
        at(browser, numbers[2])
        assert "W 400 L 40" in browser.run("document.querySelector('#grey').textContent").replace("  ", " ")
        names = browser.run("[...document.querySelectorAll('#windows button')].map((one) => one.textContent)")
        assert names[:3] == ["Image", "Range", "Model's"]
        assert {"Lung", "Bone", "Brain"} <= set(names)
        bone = names.index("Bone") + 1
        browser.click(f"#windows button:nth-child({bone})")
        assert "W 2500" in browser.run("document.querySelector('#grey').textContent")
    assert browser.said == []


def test_every_button_has_a_name_and_the_page_keeps_nothing(browser, console, template):
    shown = recorded(console, template)
    with served(console, browser) as base:
        enter(browser, base, shown)
        unnamed = browser.run(
            "[...document.querySelectorAll('button, input:not([type=hidden]), a')].filter("
            "(one) => !(one.getAttribute('aria-label') || one.textContent.trim())).length"
        )
        assert unnamed == 0
        assert browser.run("document.querySelector('#said').innerText").startswith("▲ finding 8 marks found")
        kept = "caches.keys().then((all) => [all.length, localStorage.length, Object.values(sessionStorage)])"
        # The library of the pages notes the page's own address, which holds nothing of a patient.
        assert browser.run(kept) == [0, 0, [shown.page]]
        newer = again(shown)
        browser.until(
            "document.querySelector('.alarm')?.textContent ?? ''", lambda text: "Superseded" in text
        )
        colour = browser.run("getComputedStyle(document.querySelector('.alarm')).backgroundColor")
        assert colour == "rgb(107, 29, 20)"
        browser.click(".alarm a")
        browser.until(f"location.pathname === '/results/{newer}/view'")


def test_images_that_are_gone_say_so_under_the_results_own_words(browser, console, template):
    shown = recorded(console, template)
    with console.ledger.write() as tx:
        custody.purge(tx, list(shown.instances), at=console.clock.now())
    with served(console, browser) as base:
        enter(browser, base, shown)
        told = browser.until("document.querySelector('#message:not([hidden])')?.textContent")
        assert "no longer on the box" in told
        assert "8 marks found" in browser.run("document.querySelector('#said').innerText")
        assert browser.run("document.querySelectorAll('#marks button').length") == 8


def test_a_failed_analysis_says_so_over_images_that_can_be_seen(browser, console):
    folder = console.root / "kept" / "1"
    folder.mkdir(parents=True)
    cells = np.full((40, 20), 2000, np.int16)
    content(folder, ct(cells, PixelSpacing=[0.5, 1.0]), ct(cells, z_mm=2.5, PixelSpacing=[0.5, 1.0]))
    shown = noticed(console, folder, Outcome.FAILED, "The images end too early.")
    with served(console, browser) as base:
        enter(browser, base, shown)
        said = browser.run("document.querySelector('#said').innerText")
        assert "failed" in said
        assert "This is not a negative result." in said
        assert "The images end too early." in said
        assert browser.run("document.querySelector('#message').hidden") is True
        stage = Stage.of(browser)
        bright = stage.cut(browser.picture()).min(axis=-1) > 250
        rows, columns = np.flatnonzero(bright.mean(axis=1) > 0.5), np.flatnonzero(bright.mean(axis=0) > 0.5)
        # 40 rows of half a millimetre and 20 columns of one are a square.
        assert len(rows) == pytest.approx(stage.height, abs=8)
        assert len(columns) == pytest.approx(stage.height, abs=8)
    assert browser.said == []


def test_a_radiograph_with_oblong_pixels_stored_inverted_has_its_marks_at_their_place(
    browser, console, tmp_path
):
    folder = tmp_path / "images"
    folder.mkdir()
    said = {"PhotometricInterpretation": "MONOCHROME1", "ImagerPixelSpacing": [0.2, 0.3]}
    radiograph("DX", folder, rows=240, columns=204, **said)
    shown = recorded(console, analysed(folder, run(package("regions", "DX", tmp_path), folder)))
    with served(console, browser) as base:
        enter(browser, base, shown)
        stage = Stage.of(browser)
        boxes = boxes_of(stage.coloured(browser), larger_than=20)
        browser.press("o")
        bright = boxes_of(stage.cut(browser.picture()).mean(axis=-1) > 128, larger_than=20)
    assert len(bright) == 4, "what is dark in the numbers is bright on the screen"
    for mark in bright:
        # A number stands above and to the right of each rectangle.
        over = [np.maximum(np.abs(mark - box) - [20, 0, 0, 24], 0).max() for box in boxes]
        assert min(over) <= 4, "a rectangle lies around each mark"
        covering = boxes[int(np.argmin(over))] - mark
        assert covering[0] <= 4, "not below its upper edge"
        assert covering[3] >= -4, "not short of its right edge"
    assert browser.said == []


def boxes_of(mask: Bools, *, larger_than: int) -> list[npt.NDArray[np.int_]]:
    """Give (top, left, bottom, right) of each island of a mask; dashes belong together."""
    labels, _ = ndimage.label(ndimage.binary_dilation(mask, iterations=3))
    sides = [
        np.array([*(part.start for part in box), *(part.stop for part in box)])
        for box in ndimage.find_objects(labels)
    ]
    shrunk = np.array([3, 3, -3, -3])
    return [box + shrunk for box in sides if (box[2:] - box[:2]).min() > larger_than]
