"""Model packages of other versions, made from one that ships, and how they come onto a box."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from appliance.core.packages import installed_folder
from appliance.ledger import versions
from appliance.ledger.engine import Ledger
from appliance.ledger.versions import Arrival, Version
from models.catalogue import LIBRARY
from models.package import Package, open_package

NAME = "ct-tissue-bands"


def bands(folder: Path, version: str = "1.1.0", *, changes: Mapping[str, str] | None = None) -> Path:
    """Write the tissue bands under another version into a folder; `changes` are made in its manifest."""
    path = folder / f"{NAME}-{version}"
    shutil.copytree(LIBRARY / NAME, path)
    manifest = path / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    old = f'version = "{shipped().manifest.version}"'
    for before, after in {old: f'version = "{version}"', **(changes or {})}.items():
        assert text.count(before) >= 1, f"the manifest has no {before!r}"
        text = text.replace(before, after)
    manifest.write_text(text, encoding="utf-8")
    return path


def shipped() -> Package:
    """The tissue bands as they ship."""
    return open_package(LIBRARY / NAME)


def put(ledger: Ledger, root: Path, path: Path) -> Version:
    """Bring a package onto a box as an installation leaves it: files in place, and a row."""
    package = open_package(path)
    shutil.copytree(path, installed_folder(root, package.digest))
    manifest = package.manifest
    arrival = Arrival(name=manifest.name, version=manifest.version, digest=package.digest, source=path.name)
    with ledger.write() as tx:
        return versions.fetched(tx, arrival, evidence={}, at=ledger.clock.now(), by="jo")


def activate(ledger: Ledger, version: Version) -> Version:
    """Let a version serve, as an activation that passed leaves it."""
    at = ledger.clock.now()
    with ledger.write() as tx:
        row = versions.verifying(tx, versions.building(tx, version, at=at), at=at)
        return versions.activated(tx, row, evidence={}, former_digest=None, at=at, by="jo")
