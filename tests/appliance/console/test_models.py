"""What the console says of versions: every one of them, which serves, and why others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.console.models import Models
from appliance.core.packages import installed_folder
from appliance.ledger import controls, passages, versions
from appliance.ledger.controls import Kind
from appliance.ledger.versions import Arrival
from tests.appliance import packages
from tests.appliance.console.filling import NASTY, csrf

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


def test_a_release_that_waits_for_the_site_is_agreed_to_with_a_button(console):
    with console.ledger.write() as tx:
        passages.assigned(tx, name=NAME, version="1.4.0", digest="sha256:44", phase=1, at=console.clock.now())
        said = {"word": "waiting_consent", "sentence": "it passed here and waits until somebody agrees"}
        passages.enter(tx, "sha256:44", 7, at=console.clock.now(), **said)
    browser = console.logged_in()
    page = browser.get("/models").text
    assert "waits until somebody agrees" in page
    assert "Agree to" not in page, "this site does not ask"
    registry = console.config.registry.model_copy(update={"consent": True})
    asking = Models(console.ledger, console.config.model_copy(update={"registry": registry}))
    assert [one.asks for one in asking.releases()] == [True]

    proof = csrf(browser)
    form = {"model": NAME, "version": "1.4.0"}
    assert browser.post("/models/consent", data=form).status_code == 403
    assert (
        browser.post("/models/consent", data={**form, "csrf": proof, "version": "9.0.0"}).status_code == 409
    )
    answer = browser.post("/models/consent", data={**form, "csrf": proof})
    assert answer.headers["location"] == "/models?done=agreed"
    assert [one.asks for one in asking.releases()] == [False]
    page = browser.get("/models?done=agreed").text
    assert "it may begin to serve" in page
    assert f"agreed to {NAME} 1.4.0." in page


def test_a_hold_is_seen_with_its_reason(console):
    at = console.clock.now()
    with console.ledger.write() as tx:
        controls.place(tx, Kind.HOLD, "", reason=NASTY, by="jo", at=at, until=at + 86_400)
    page = console.logged_in().get("/models").text
    assert "every model" in page
    assert NASTY not in page
