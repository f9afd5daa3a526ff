"""A box that runs follows its registry by itself, and does not notice when there is none any more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.demo.box import Box, free_ports
from appliance.sync.standing import Standing, read_standing
from provisioning.registry.book import Book
from provisioning.registry.promote import claim, promote
from provisioning.registry.publish import publish
from tests.appliance import packages
from tests.system.boxes import BANDS, Pacs, readside, settled, store_all
from tests.system.conftest import StartBox
from tests.system.images import made_up
from tests.system.test_versions import read_by
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
NAME, SHIPPED = packages.NAME, packages.shipped().manifest.version


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `readside registry serve`; give its address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "appliance.cli", "registry", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(url), seconds=60, what="the registry answers")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/image/metadata/timestamp.json", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def study(box: Box, pacs: Pacs) -> set[str]:
    """Send a study and wait for its results; return the version that read it."""
    made = made_up()
    store_all(box, list(made.instances()))
    settled(box, made.study_uid)
    return read_by(pacs, box, made.study_uid)


def standing(box: Box) -> Standing | None:
    return read_standing(box.config.storage.root)


def says(box: Box, *words: str) -> bool:
    found = standing(box)
    return found is not None and [one.word.value for one in found.outcomes] == list(words)


def test_a_running_box_takes_what_is_assigned_and_outlives_its_registry(
    tmp_path: Path, pacs: Pacs, start_box: StartBox
) -> None:
    book, keys = Book(folder=tmp_path / "registry"), tmp_path / "keys"
    book.create(keys)
    claim(book, "box-1", tmp_path / "claim")
    with served(book.folder) as url:
        section = (
            f'\n[registry]\nurl = "{url}"\ndevice = "box-1"\nroots = "{tmp_path}/claim"\nevery_seconds = 1\n'
        )
        box = start_box(pacs.port, more=BANDS + section)
        until(lambda: says(box, "current"), seconds=60, what="the first look")
        assert study(box, pacs) == {SHIPPED}

        publish(book, packages.bands(tmp_path / "made"), [keys])
        promote(book, NAME, "1.1.0", ["box-1"])
        until(lambda: serves(box) == "1.1.0", seconds=120, what="the assigned release serves")
        assert study(box, pacs) == {"1.1.0"}

    until(lambda: says(box, "unreachable"), seconds=60, what="the registry is missed")
    assert study(box, pacs) == {"1.1.0"}, "inference does not notice"
    report: dict[str, Any] = json.loads(
        readside("status", "--config", box.config_path, "--json", seconds=60).stdout
    )
    assert report["registry"]["outcomes"][0]["word"] == "unreachable"
    assert report["balance"] == 0


def serves(box: Box) -> str | None:
    said = readside("model", "list", "--config", box.config_path, "--json", seconds=60)
    rows = json.loads(said.stdout)["models"]
    return next((row["version"] for row in rows if row["name"] == NAME and row["serves"]), None)
