"""The routes of a box follow the versions that are activated, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, ConfigError, parse
from appliance.core.packages import Origin, installed_folder
from appliance.ledger import versions
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from appliance.routes.table import RouteTable, compile_routes
from models.package import open_package
from tests.appliance import packages


def site(root: Path, ledger_url: str, *, model: str = packages.NAME, **more: Any) -> Config:
    return parse(
        {
            "site": {"name": "Test"},
            "storage": {"root": str(root)},
            "ledger": {"url": ledger_url},
            "routes": [{"name": "r", "when": 'Modality == "CT"', "model": model}],
            **more,
        }
    )


@pytest.fixture
def config(tmp_path: Path, ledger_url: str) -> Config:
    return site(tmp_path / "root", ledger_url)


@pytest.fixture
def catalogue(ledger: Ledger, config: Config) -> Catalogue:
    return Catalogue(ledger, config)


def retire(ledger: Ledger, digest: str) -> None:
    with ledger.write() as tx:
        row = versions.of_digest(tx, digest)
        assert row is not None
        versions.retired(tx, row, at=0.0, by="jo")


def test_without_an_installed_version_the_shipped_one_serves(catalogue, config):
    (route,) = RouteTable(config, catalogue).routes
    assert (route.model.digest, route.model.origin) == (packages.shipped().digest, Origin.SHIPPED)
    assert compile_routes(config)[0].model.digest == packages.shipped().digest


def test_a_table_follows_an_activation_and_its_end(ledger, catalogue, config, tmp_path):
    table = RouteTable(config, catalogue)
    row = packages.put(ledger, config.storage.root, packages.bands(tmp_path))
    table.refresh()
    assert table.routes[0].model.digest == packages.shipped().digest, "installed is not yet active"
    with ledger.read() as tx:
        assert table.is_fresh(tx)
    packages.activate(ledger, row)
    with ledger.read() as tx:
        assert not table.is_fresh(tx)
    table.refresh()
    served = table.routes[0].model
    assert (served.version, served.digest, served.origin) == ("1.1.0", row.digest, Origin.INSTALLED)
    assert compile_routes(config)[0].model.digest == row.digest
    retire(ledger, row.digest)
    table.refresh()
    assert table.routes[0].model.digest == packages.shipped().digest


def test_nothing_is_read_again_while_nothing_changes(ledger, catalogue, config, tmp_path, monkeypatch):
    packages.activate(ledger, packages.put(ledger, config.storage.root, packages.bands(tmp_path)))
    table = RouteTable(config, catalogue)
    monkeypatch.setattr("appliance.ledger.catalogue.open_installed", lambda *_: 1 / 0)
    before = table.routes
    table.refresh()
    assert table.routes is before
    assert not catalogue.refresh()


def test_an_active_version_that_is_lower_than_the_shipped_one_serves_all_the_same(
    ledger, catalogue, config, tmp_path
):
    packages.activate(ledger, packages.put(ledger, config.storage.root, packages.bands(tmp_path, "0.1.0")))
    assert RouteTable(config, catalogue).routes[0].model.version == "0.1.0"


def test_changed_files_are_refused_and_no_other_version_takes_their_place(
    ledger, catalogue, config, tmp_path
):
    row = packages.activate(ledger, packages.put(ledger, config.storage.root, packages.bands(tmp_path)))
    card = installed_folder(config.storage.root, row.digest) / "MODEL_CARD.md"
    card.write_text("something else", encoding="utf-8")
    served = RouteTable(config, catalogue).routes[0].model
    assert (served.digest, served.package) == (row.digest, None)
    assert "1.1.0 as installed cannot be used: its files were changed" in served.fault


def test_every_version_of_a_folder_can_finish_its_jobs(ledger, tmp_path, ledger_url):
    lower, higher = (packages.bands(tmp_path / "site", v) for v in ("1.1.0", "1.2.0"))
    config = site(tmp_path / "root", ledger_url, models={"folders": [str(tmp_path / "site")]})
    catalogue = Catalogue(ledger, config)
    assert RouteTable(config, catalogue).routes[0].model.version == "1.2.0"
    for path in (lower, higher):
        digest = open_package(path).digest
        assert catalogue.open(digest) is catalogue.known(digest) is not None


def test_a_ledger_that_cannot_be_asked_is_a_fault_of_its_own(ledger, tmp_path, ledger_url):
    config = site(tmp_path / "root", f"sqlite:///{tmp_path}")
    assert compile_routes(config), "nothing is installed, so the ledger is not asked"
    packages.put(ledger, config.storage.root, packages.bands(tmp_path))
    with pytest.raises(ConfigError, match="the ledger cannot be opened"):
        compile_routes(config)


def test_a_route_whose_model_was_taken_away_keeps_what_it_had(ledger, tmp_path, ledger_url):
    path = packages.bands(tmp_path, changes={'name = "ct-tissue-bands"': 'name = "own"'})
    config = site(tmp_path / "root", ledger_url, model="own")
    with pytest.raises(ConfigError, match="no package is called 'own'"):
        compile_routes(config)
    row = packages.activate(ledger, packages.put(ledger, config.storage.root, path))
    table = RouteTable(config, Catalogue(ledger, config))
    assert compile_routes(config)[0].model.digest == row.digest
    retire(ledger, row.digest)
    table.refresh()
    assert table.routes[0].model.digest == row.digest
    with pytest.raises(ConfigError, match="no package is called 'own'"):
        RouteTable(config, Catalogue(ledger, config))


def test_a_condition_on_earlier_studies_is_looked_at_before_the_box_starts(tmp_path, ledger_url):
    pacs = {"name": "p", "ae_title": "P", "host": "192.0.2.1", "port": 104, "may": ["store", "query"]}
    route = {"name": "r", "when": "true", "model": packages.NAME, "priors": {"when": "slices > 3"}}
    config = site(tmp_path / "root", ledger_url, routes=[route], peers=[pacs])
    with pytest.raises(ConfigError, match=r"routes\.r\.priors\.when: slices is none of StudyDescription"):
        compile_routes(config)
    config = site(tmp_path / "root", ledger_url, routes=[{**route, "priors": {}}], peers=[pacs])
    assert compile_routes(config)[0].earlier is None
