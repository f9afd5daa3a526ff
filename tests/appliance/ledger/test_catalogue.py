"""Which package serves a name, and what a digest still opens, on a box that changes while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import Config, parse
from appliance.core.packages import Origin, installed_folder
from appliance.ledger import inventory, versions
from appliance.ledger.catalogue import Catalogue, packages_now, serving_now
from appliance.ledger.engine import Ledger
from models.package import PackageError
from tests.appliance import packages

NAME = packages.NAME


@pytest.fixture
def config(tmp_path: Path, ledger_url: str) -> Config:
    return parse(
        {
            "site": {"name": "Test"},
            "storage": {"root": str(tmp_path / "root")},
            "ledger": {"url": ledger_url},
            "models": {"folders": [str(tmp_path / "site")]},
        }
    )


@pytest.fixture
def catalogue(ledger: Ledger, config: Config, tmp_path: Path) -> Catalogue:
    """A box with a folder of its own that holds version 1.0.5 of the tissue bands."""
    packages.bands(tmp_path / "site", "1.0.5")
    return Catalogue(ledger, config)


def bring(ledger: Ledger, config: Config, folder: Path) -> versions.Version:
    return packages.put(ledger, config.storage.root, packages.bands(folder / "made"))


def test_the_highest_serves_until_an_installed_version_is_activated(ledger, catalogue, config, tmp_path):
    served = catalogue.serving()[NAME]
    assert (served.version, served.origin) == ("1.0.5", Origin.FOLDER)
    assert serving_now(config)[0][NAME].digest == served.digest
    row = bring(ledger, config, tmp_path)
    assert catalogue.refresh()
    assert catalogue.serving()[NAME] == served
    packages.activate(ledger, row)
    assert catalogue.serving()[NAME] == served, "as of the last look"
    assert catalogue.refresh()
    assert not catalogue.refresh()
    now = catalogue.serving()[NAME]
    assert (now.version, now.origin, now.digest) == ("1.1.0", Origin.INSTALLED, row.digest)
    assert catalogue.serving_else()[NAME] == served
    assert packages_now(config)[0][NAME].digest == row.digest


def test_a_retired_version_is_opened_for_its_jobs_and_a_removed_one_is_gone(
    ledger, catalogue, config, tmp_path
):
    row = packages.activate(ledger, bring(ledger, config, tmp_path))
    with ledger.write() as tx:
        retired = versions.retired(tx, row, at=0.0, by="jo")
    opened = catalogue.open(row.digest)
    assert opened is not None
    assert opened.digest == row.digest
    with ledger.write() as tx:
        versions.removed(tx, retired, at=0.0, by="jo")
    assert catalogue.open(row.digest) is None
    assert catalogue.open("sha256:never") is None
    assert catalogue.known("sha256:never") is None
    assert "no longer on this box" in catalogue.absence(NAME, row.digest)


@pytest.mark.parametrize("gone", [False, True])
def test_files_that_are_not_what_was_installed_open_for_nobody(ledger, catalogue, config, tmp_path, gone):
    row = packages.activate(ledger, bring(ledger, config, tmp_path))
    folder = installed_folder(config.storage.root, row.digest)
    if gone:
        folder.rename(folder.with_name("elsewhere"))
    else:
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])
    with pytest.raises(PackageError):
        catalogue.open(row.digest)
    assert catalogue.known(row.digest) is None
    assert "gone or were changed" in catalogue.absence(NAME, row.digest)
    catalogue.refresh()
    served = catalogue.serving()[NAME]
    assert (served.digest, served.package) == (row.digest, None)
    found, faults = packages_now(config)
    assert NAME not in found
    assert "1.1.0 as installed cannot be used" in faults[0]


def test_the_inventory_names_every_package_once_and_marks_what_serves(ledger, catalogue, config, tmp_path):
    row = packages.activate(ledger, bring(ledger, config, tmp_path))
    refused = versions.Arrival(name=NAME, version="1.2.0", digest="", source="x.zip")
    with ledger.write() as tx:
        versions.refused(tx, refused, evidence={"faults": ["too large"]}, at=0.0, by="jo")
    lines = [line for line in inventory.lines(ledger, catalogue) if line.name == NAME]
    assert {(line.version, line.origin, line.state) for line in lines} == {
        ("1.1.0", Origin.INSTALLED, "ACTIVE"),
        ("1.2.0", Origin.INSTALLED, "REJECTED"),
        ("1.0.5", Origin.FOLDER, "STANDING BY"),
        (packages.shipped().manifest.version, Origin.SHIPPED, "STANDING BY"),
    }
    assert [line.digest for line in lines if line.serves] == [row.digest]
    assert lines[0].serves
    assert [inventory.faults_of(line) for line in lines if line.state == "REJECTED"] == [["too large"]]
    told = lines[0].as_dict()
    assert (told["task"], told["source"], told["fault"]) == ("measurement", "ct-tissue-bands-1.1.0", "")


def test_without_a_ledger_what_ships_and_what_lies_in_folders_is_listed(tmp_path):
    packages.bands(tmp_path, "1.0.5")
    lines, faults = inventory.lines_without_ledger([tmp_path, tmp_path / "nowhere"])
    states = {line.version: line.state for line in lines if line.name == NAME}
    assert states == {"1.0.5": "SERVING", packages.shipped().manifest.version: "STANDING BY"}
    assert "is not a folder" in faults[0]
