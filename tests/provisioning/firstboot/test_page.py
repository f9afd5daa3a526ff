"""The example of the technician's page does what the page says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from appliance.core.config import load
from provisioning.firstboot.steps import KEYS
from tests.provisioning.firstboot.test_drivers import run

PAGE = Path(__file__).resolve().parents[3] / "docs" / "technician.md"


def section():
    return PAGE.read_text(encoding="utf-8").partition("## First boot\n")[2].partition("\n## ")[0]


def test_the_example_is_a_whole_first_boot(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", section(), re.DOTALL)
    assert tuple(tomllib.loads(example)) == KEYS
    (tmp_path / "first-boot.toml").write_text(example)
    shown = run(tmp_path, "--file", tmp_path / "first-boot.toml")
    config = load(tmp_path / "site.toml")
    assert config.peer("pacs").fetchable
    assert [route.model for route in config.routes] == ["ct-tissue-bands"]
    assert "192.0.2.20" in shown
    assert "accept" in shown


def test_the_page_names_every_step_and_no_other():
    assert tuple(re.findall(r"^\| ([a-z]+) \| (?!asks)", section(), re.MULTILINE)) == KEYS
