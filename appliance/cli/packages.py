"""Which packages and engines a command works with: what serves on a box, or what ships without one."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import NoReturn, TypeAlias

from appliance.cli.terms import BAD_USE, fail
from appliance.core.config import Config
from appliance.core.packages import find_packages
from appliance.inference.settings import EngineSettings, settings_of
from appliance.ledger.catalogue import packages_now
from appliance.ledger.engine import LedgerRefused
from models.package import Package

Found: TypeAlias = tuple[dict[str, Package], list[str]]


def settings_here(config: Config) -> EngineSettings:
    """Give a site's settings; without the store where another user owns it, who could not read our files."""
    settings = settings_of(config)
    root = config.storage.root
    if root.is_dir() and root.stat().st_uid == os.geteuid():
        return settings
    return EngineSettings(
        limits=settings.limits,
        device=settings.device,
        memory_bytes_max=settings.memory_bytes_max,
        kserve_urls=settings.kserve_urls,
    )


def packages_of(config: Config | None) -> Found:
    """Find what serves on a box; what ships and lies in its folders where its ledger cannot be opened."""
    if config is None:
        return find_packages(())
    try:
        return packages_now(config)
    except LedgerRefused:
        return find_packages(config.models.folders)


def no_model(name: str, packages: Collection[str], faults: Sequence[str]) -> NoReturn:
    """End where no package serves under a name: one that is there and cannot be used is not "unknown"."""
    reasons = [fault for fault in faults if f" {name} " in fault]
    if reasons:
        fail("; ".join(reasons))
    fail(f"no model is called {name!r}; there are: {', '.join(sorted(packages))}", code=BAD_USE)
