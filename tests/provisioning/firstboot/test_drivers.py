"""A page in a browser, a terminal and a file are the same first boot."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.core.clock import SYSTEM
from appliance.core.config import load
from provisioning.firstboot.desk import Desk
from provisioning.firstboot.door import Door
from provisioning.firstboot.pages import application
from provisioning.firstboot.sitting import Sitting
from provisioning.firstboot.steps import KEYS
from provisioning.firstboot.web import Served
from provisioning.identity import code as codes
from tests.appliance.console.chromium import Browser
from tests.provisioning.firstboot.said import PASSWORD, without_salt

EXPECTED = """\
# Readside: the configuration of one box, written at first boot.
# Check it with `readside check-config FILE`.
# Skipped: registry: No registry here; "bundles" <only>

[site]
name = "St \\"Mary\\" <b>& Söhne</b> \\\\ # [x]"
time_zone = "Europe/Vienna"

[dicom]
ae_title = "BOX ONE"
port = 11113

[[peers]]
name = "pacs"
ae_title = "ARCHIVE"
host = "pacs.example.org"
port = 104
may = ["store"]
outputs = ["sr", "sc"]

[storage]
root = "DATA"
floor_gib = 2.5
retain_days = 14.0

[[routes]]
name = "ct-phantom-lesion"
when = "Modality == \\"CT\\" && slices >= 3"
model = "ct-phantom-lesion"
send_to = ["pacs"]

[[routes]]
name = "ct-tissue-bands"
when = "Modality == \\"CT\\" && (ImageType == null || !(\\"LOCALIZER\\" in ImageType))"
model = "ct-tissue-bands"
send_to = ["pacs"]

[[console.users]]
name = "anna"
password_hash = "..."
"""


def run(tmp_path, *words, typed=None, code=0):
    at = ["--config", str(tmp_path / "site.toml"), "--state", str(tmp_path / "state.json")]
    ran = CliRunner().invoke(app, ["provision", "first-boot", *at, *map(str, words)], input=typed)
    assert ran.exit_code == code, (ran.output, ran.exception)
    return ran.output


def expected(tmp_path):
    return EXPECTED.replace("DATA", str(tmp_path / "data")).encode()


def written(tmp_path):
    load(tmp_path / "site.toml")
    return without_salt((tmp_path / "site.toml").read_bytes())


@contextmanager
def page(sitting):
    """A page on loopback, and the code that opens it."""
    code = codes.make()
    desk = Desk(sitting, Door(code, SYSTEM))
    served = Served(application(desk), host="127.0.0.1", port=0, tls=None)
    try:
        yield f"http://127.0.0.1:{served.start()}", code, desk
    finally:
        served.stop()


def test_a_file_gives_the_configuration(tmp_path, said):
    shown = run(tmp_path, "--file", said.file(tmp_path / "stick.toml"))
    assert written(tmp_path) == expected(tmp_path)
    assert "stick.toml holds secrets (password): delete it." in shown
    assert "192.0.2.77" in shown
    assert "No registry" in shown
    assert (
        PASSWORD not in shown + (tmp_path / "state.json").read_text() + (tmp_path / "site.toml").read_text()
    )
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_terminal_gives_the_same_bytes(tmp_path, said):
    shown = run(tmp_path, typed=said.typed())
    assert written(tmp_path) == expected(tmp_path)
    assert PASSWORD not in shown


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_gives_the_same_bytes(tmp_path, said, sitting):
    with page(sitting) as (address, code, desk), Browser(tmp_path / "browser") as browser:
        browser.open(address)
        wait(browser, "document.querySelector('#code') !== null")
        fill(browser, {"code": codes.shown(code).lower()}, "button")
        for key in KEYS:
            wait(browser, f"location.pathname === '/step/{key}'")
            answer = said.form(key)
            fill(browser, answer, f"button[value={answer['do']}]")
        wait(browser, "document.querySelector('#finish') !== null")
        shown = browser.run("document.querySelector('pre').textContent")
        fill(browser, {}, "#finish")
        wait(browser, "document.querySelector('#commands') !== null")
        assert browser.said == [], "the page's policy refused something"
    assert written(tmp_path) == expected(tmp_path)
    assert shown.strip() == expected(tmp_path).decode().strip()
    assert desk.done is not None


def wait(browser, what):
    """Wait for a page until it stands still: what moves cannot be clicked."""
    browser.until(f"{what} && document.readyState === 'complete'")


def fill(browser, answers, button):
    """Fill a form in as a person does, and press its button."""
    for name, value in answers.items():
        if name == "do":
            continue
        chosen = value if isinstance(value, list) else [value]
        browser.run(
            f"""(() => {{ const chosen = {json.dumps(chosen)};
            for (const field of document.querySelectorAll('[name="{name}"]')) {{
              const box = ['checkbox', 'radio'].includes(field.type);
              if (box) field.checked = chosen.includes(field.value);
              else field.value = chosen[0];
            }} }})()"""
        )
    browser.run(f"document.querySelector('{button}').scrollIntoView({{block: 'center'}})")
    browser.click(button)


def test_what_one_began_another_ends(tmp_path, said):
    """At the terminal up to the account, then with a file of the rest."""
    lines = said.typed().splitlines()
    before = "\n".join([*lines[: lines.index("anna") - 1], "quit", ""])
    assert "Nothing was written" in run(tmp_path, typed=before)
    assert not (tmp_path / "site.toml").exists()
    stick = said.file(tmp_path / "stick.toml", network=None, time=None, site=None, storage=None)
    run(tmp_path, "--file", stick)
    assert written(tmp_path) == expected(tmp_path)


def test_a_page_goes_on_where_a_terminal_left(tmp_path, said):
    run(tmp_path, typed="answer\n192.0.2.77\nquit\n")
    sitting = Sitting(state=tmp_path / "state.json", config=tmp_path / "site.toml")
    step = sitting.answers.first_open()
    assert step is not None
    assert step.key == "time"
