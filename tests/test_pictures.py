"""The README's pictures come from a demonstration that runs: they cannot show what does not work.

`READSIDE_PICTURES=docs/pictures scripts/test tests/test_pictures.py` writes them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from rich.console import Console

from appliance.demo.box import BOX_AE, Box, SiteShape
from appliance.demo.pacs import StandInPacs
from appliance.demo.play import PACS_AE, ROUTES, perform
from appliance.ledger import results
from tests.appliance.console.chromium import Browser

CHROMIUM = shutil.which("chromium")
OUTLINE_RGB = (255, 77, 56)


def keep(picture: Path, name: str) -> None:
    if folder := os.environ.get("READSIDE_PICTURES"):
        shutil.copy(picture, Path(folder) / name)


def screenshot(url: str, folder: Path) -> Path:
    """Open an address in a browser of its own and take a picture of the page."""
    assert CHROMIUM is not None
    target = folder / "page.png"
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-component-update", *quiet]
    options = [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1500", f"--screenshot={target}"]
    subprocess.run([*command, *options, url], check=True, timeout=60, capture_output=True)
    return target


def looked_at(box: Box, study_uid: str, folder: Path) -> Path:
    """Open the lesion result's images as a person does, and take a picture of the page."""
    with box.ledger.read() as tx:
        (result,) = [one for one in results.of_study(tx, study_uid) if one.route == "phantom-lesion"]
    link, target = box.login_link(study_uid).partition("?")[0], folder / "preview.png"
    (folder / "preview").mkdir()
    with Browser(folder / "preview", height=960) as browser:
        browser.open(f"{link}?next=/results/{result.id}/view")
        shown = "(document.querySelector('#position')?.textContent ?? '')"
        browser.until(shown, lambda text: text.startswith("Image") and "loading" not in text)
        browser.click("#windows button:nth-child(3)")
        target.write_bytes(browser.png())
        assert browser.said == []
    return target


@pytest.mark.timeout(300)
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_pictures_of_the_readme(tmp_path: Path):
    pacs = StandInPacs(tmp_path / "pacs", PACS_AE, peers=[BOX_AE])
    site = SiteShape(pacs_ae=PACS_AE, pacs_port=pacs.start(), quiet_seconds=2.0, more=ROUTES)
    box = Box(tmp_path, site)
    try:
        report = perform(box, pacs, Console(quiet=True))
        page = screenshot(report["console"], tmp_path)
        preview = looked_at(box, report["study_uid"], tmp_path)
    finally:
        box.stop()
        pacs.stop()
    assert report["ok"], report["faults"]

    lesion = [r for r in report["results"] if r["modality"] == "OT" and "lesion" in r["series_description"]]
    pixels = pydicom.dcmread(lesion[0]["path"]).pixel_array
    outline = np.abs(pixels.astype(int) - OUTLINE_RGB).sum(axis=-1) < 30
    assert outline.sum() > 100, "the overlay shows an outline"
    overlay = tmp_path / "overlay.png"
    Image.fromarray(pixels).save(overlay)

    with Image.open(page) as shown:
        assert shown.size == (1400, 1500)
        colours = shown.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 500, "the page shows images, not an error or a log-in"
    with Image.open(preview) as shown:
        pixels = np.asarray(shown.convert("RGB")).astype(int)
    drawn = np.abs(pixels - OUTLINE_RGB).sum(axis=-1) < 60
    assert drawn.sum() > 100, "the preview shows an outline"
    keep(overlay, "overlay.png")
    keep(page, "console.png")
    keep(preview, "preview.png")
