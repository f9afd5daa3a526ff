"""A roll-out's page in a real browser: a person logs in, looks, and presses a button.

`READSIDE_PICTURES=docs/pictures scripts/test` with this file writes the picture.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import reference
from provisioning.registry.database import rollouts
from provisioning.registry.promote import promote
from provisioning.registry.publish import releases
from tests.appliance import packages
from tests.appliance.console.chromium import CHROMIUM, Browser
from tests.provisioning.fleet import PASSWORD, TIMES, Fleet, Reporter
from tests.provisioning.registry.server.pages.visiting import Visit

OLD, NEW = "1.1.0", "1.2.0"
PLACES = (
    ("north-ct-1", "north", "l4", "siemens"),
    ("south-ct-1", "south", "t4", "ge"),
    ("east-ct-1", "east", "l4", "philips"),
    ("west-ct-1", "west", "t4", "canon"),
    ("west-ct-2", "west", "l4", "siemens"),
)
HOUR = 3_600.0


def tell(made: Fleet, box: Reporter, version: str, phase: Phase, word: Word, studies: int) -> None:
    (digest,) = [one.digest for one in releases(made.book) if one.version == version]
    values = {"release": reference(digest), "phase": int(phase), "reason": code_of(word)}
    work = {"studies": studies, "failures": 0, "positives": studies // 25 * 5}
    times = tuple(studies * cell // 1_000 // 5 * 5 for cell in TIMES)
    serving = phase in (Phase.SOAK, Phase.COMMITTED)
    record = {**values, **work, "turnaround": times, "serving": serving}
    box.report(made.served, [record], at=made.clock.now())


def a_ring_that_waits(made: Fleet, enter: Callable[[str], Visit]) -> None:
    """A roll-out in its first of two rings: one slot committed, one changes over, and evidence is few."""
    boxes = [Reporter(slot=slot, site=site, gpu=gpu, vendor=vendor) for slot, site, gpu, vendor in PLACES]
    for ring, box in zip((0, 0, 1, 1, 1), boxes, strict=True):
        made.slot(box)
        made.ring(ring, box.slot)
        tell(made, box, OLD, Phase.COMMITTED, Word.CURRENT, 10_000)
    promote(made.book, packages.NAME, OLD, [box.slot for box in boxes])
    enter("otto").press("/rollouts", release=f"{packages.NAME} {NEW}", why="thinner slices")
    enter("ann").press("/rollouts/1/approve", why="looked at the comparison")
    made.carry_out()
    for hours in (0.0, 9.5):
        made.clock.advance(hours * HOUR)
        tell(made, boxes[0], NEW, Phase.COMMITTED, Word.CURRENT, 85)
        tell(made, boxes[1], NEW, Phase.WAITING_WINDOW, Word.WAITING_WINDOW, 0)
        for box in boxes[2:]:
            tell(made, box, OLD, Phase.COMMITTED, Word.CURRENT, 10_000)
        made.carry_out()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_person_looks_at_a_roll_out_and_pauses_it(
    empty: Fleet, enter: Callable[[str], Visit], tmp_path: Path
):
    a_ring_that_waits(empty, enter)
    (tmp_path / "browser").mkdir()
    with Browser(tmp_path / "browser", height=1_150) as browser:
        browser.open(f"{empty.served.url}/rollouts/1")
        browser.until("location.pathname === '/login' && document.readyState === 'complete'")
        for field, value in (("user", "ann"), ("password", PASSWORD)):
            browser.run(f"document.querySelector('#{field}').value = {value!r}")
        browser.click("form.door button")
        browser.until("location.pathname === '/rollouts/1' && document.readyState === 'complete'")
        styled = browser.run("getComputedStyle(document.body).display")
        wide = browser.run("document.documentElement.scrollWidth - innerWidth")
        picture = tmp_path / "registry.png"
        picture.write_bytes(browser.png())
        browser.click("form[action='/rollouts/1/pause'] summary")
        browser.click("form[action='/rollouts/1/pause'] button")
        browser.until("document.body?.innerText.includes('paused by ann')")
        said = browser.said
    assert said == [], "the browser has nothing to complain of"
    assert (styled, wide <= 0) == ("flex", True)
    with empty.database.read() as tx:
        found = rollouts.find(tx, 1)
    assert found is not None
    assert found.state.stage == "paused"
    if folder := os.environ.get("READSIDE_PICTURES"):
        shutil.copy(picture, Path(folder) / picture.name)
