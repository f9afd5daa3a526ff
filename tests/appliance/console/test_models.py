"""What the console says of versions: every one of them, which serves, and why others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.packages import installed_folder
from appliance.ledger import versions
from appliance.ledger.versions import Arrival
from tests.appliance import packages
from tests.appliance.console.filling import NASTY

NAME = packages.NAME


def answer(console):
    return console.logged_in().get("/api/v1/models").json()


def test_a_box_without_installed_versions_shows_what_ships(console):
    shown = answer(console)
    bands = next(entry for entry in shown["models"] if entry["name"] == NAME)
    assert (bands["state"], bands["origin"], bands["serves"]) == ("SERVING", "shipped", True)
    assert bands["digest"] == packages.shipped().digest
    page = console.logged_in().get("/models").text
    assert "No version was installed here" in page
    assert f"{NAME} {packages.shipped().manifest.version}" in page


def test_an_activation_is_seen_without_a_restart(console, tmp_path: Path):
    browser = console.logged_in()
    assert "1.1.0" not in browser.get("/models").text
    row = packages.put(console.ledger, console.root, packages.bands(tmp_path / "made"))
    assert "installed, does not serve" in browser.get("/models").text
    packages.activate(console.ledger, row)
    states = {
        entry["version"]: entry["state"] for entry in answer(console)["models"] if entry["name"] == NAME
    }
    assert states == {"1.1.0": "ACTIVE", packages.shipped().manifest.version: "STANDING BY"}
    page = browser.get("/models").text
    assert "jo activated ct-tissue-bands 1.1.0." in page
    assert "stands by" in page


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: folder.rename(folder.with_name("gone")),
        lambda folder: (folder / "MODEL_CARD.md").write_text("x"),
    ],
)
def test_damaged_files_are_said(console, tmp_path: Path, change):
    row = packages.put(console.ledger, console.root, packages.bands(tmp_path / "made"))
    change(installed_folder(console.root, row.digest))
    entry = next(entry for entry in answer(console)["models"] if entry["digest"] == row.digest)
    assert "install it again" in entry["fault"]
    assert "damaged" in console.logged_in().get("/models").text


def test_the_reasons_of_a_refusal_are_shown_as_text(console, clock):
    arrival = Arrival(name=NAME, version="1.2.0", digest="", source=NASTY)
    with console.ledger.write() as tx:
        versions.refused(
            tx, arrival, evidence={"faults": [NASTY, "it is too large"]}, at=clock.now(), by="jo"
        )
    entry = next(entry for entry in answer(console)["models"] if entry["version"] == "1.2.0")
    assert (entry["state"], entry["reasons"][1]) == ("REJECTED", "it is too large")
    page = console.logged_in().get("/models").text
    assert "<script>alert" not in page
    assert "it is too large" in page
    assert "was refused; nothing else changed." in page
