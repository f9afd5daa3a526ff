"""Which package serves a model's name now: the active installed version, else what ships or lies in a folder.

Promises: a running service sees an activation at its next look, and a look at which nothing changed costs one
small query; a digest that a job names is found as long as its files are on the box, whichever serves now;
installed files are held against their digest each time they are opened.
Never: serves another package in place of an active one whose files are gone or changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.core import log
from appliance.core.config import Config
from appliance.core.packages import (
    Origin,
    anything_installed,
    every_package,
    highest,
    open_installed,
    origin_of,
)
from appliance.ledger import versions
from appliance.ledger.engine import Ledger, Tx, open_ledger
from models.package import Package, PackageError

_log = log.get("models")


@dataclass(frozen=True, kw_only=True)
class Served:
    """What serves a name. `fault` says why its files cannot be used; then there is no package."""

    name: str
    version: str
    digest: str
    origin: Origin
    package: Package | None
    fault: str = ""


class Catalogue:
    """The packages of one box, followed as versions are activated; any thread may ask."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        """Open what ships and what lies in the site's folders; these are looked at once, at the start."""
        self._ledger, self._root = ledger, config.storage.root
        every, self.faults = every_package(config.models.folders)
        self._standing = {package.digest: package for package in every}
        self._serving_else = _by_name(every)
        self._installed: dict[str, Package] = {}
        self._lock = threading.Lock()
        self._mark: int | None = None
        self._serving: Mapping[str, Served] = {}

    def refresh(self) -> bool:
        """Look whether any version changed since the last look; say whether one did."""
        with self._lock:
            with self._ledger.read() as tx:
                mark = versions.mark(tx)
                if mark == self._mark:
                    return False
                active = versions.active(tx)
            self._serving = self._serving_else | {name: self._follow(row) for name, row in active.items()}
            self._mark = mark
            return True

    def is_fresh(self, tx: Tx) -> bool:
        """Say, inside a transaction, whether nothing changed since the last look."""
        return versions.mark(tx) == self._mark

    def serving(self) -> Mapping[str, Served]:
        """Return what serves each name, as of the last look."""
        if self._mark is None:
            self.refresh()
        return self._serving

    def serving_else(self) -> Mapping[str, Served]:
        """Return what would serve each name if nothing were installed."""
        return self._serving_else

    def standing(self) -> list[Package]:
        """Return every package that needs no installing, of all versions."""
        return list(self._standing.values())

    def known(self, digest: str) -> Package | None:
        """Return the package of a digest for what its manifest says; nothing if it cannot be had."""
        found = self._standing.get(digest) or self._installed.get(digest)
        if found is not None:
            return found
        try:
            return self.open(digest)
        except PackageError:
            return None

    def open(self, digest: str) -> Package | None:
        """Open the package of a digest in order to serve with it; nothing if this box has none.

        Installed files are read whole and held against the digest each time.

        Raises:
            PackageError: its files are gone or are not what was installed.
        """
        if digest in self._standing:
            return self._standing[digest]
        with self._ledger.read() as tx:
            row = versions.of_digest(tx, digest)
        if row is None or not row.here:
            return None
        package = open_installed(self._root, digest)
        self._installed[digest] = package
        return package

    def absence(self, name: str, digest: str) -> str:
        """Say why a package cannot be opened, in the words of a result."""
        with self._ledger.read() as tx:
            row = versions.of_digest(tx, digest)
        if row is None or not row.here:
            return f"model {name} {digest[:19]} is no longer on this box"
        return f"model {name} {row.version} on this box cannot be used: its files are gone or were changed"

    def _follow(self, row: versions.Version) -> Served:
        """Return an active version as what serves; one that is unchanged is not read again."""
        before = self._serving.get(row.name)
        same = before is not None and (before.origin, before.digest) == (Origin.INSTALLED, row.digest)
        if before is not None and same and before.package is not None:
            return before
        served = {"name": row.name, "version": row.version, "digest": row.digest}
        try:
            package = open_installed(self._root, row.digest)
        except PackageError as error:
            fault = f"model {row.name} {row.version} as installed cannot be used: {'; '.join(error.faults)}"
            _log.error("model.damaged", model=row.name, version=row.version, reason=fault)
            return Served(**served, origin=Origin.INSTALLED, package=None, fault=fault)
        self._installed[row.digest] = package
        return Served(**served, origin=Origin.INSTALLED, package=package)


def standing(folders: Sequence[Path]) -> tuple[Mapping[str, Served], list[str]]:
    """Return what serves each name where nothing is installed, and a sentence for each unusable package."""
    every, faults = every_package(folders)
    return _by_name(every), faults


def serving_now(config: Config) -> tuple[Mapping[str, Served], list[str]]:
    """Return what serves each name on a box, and a sentence for each unusable package, for one look.

    The ledger is asked only where something was installed.

    Raises:
        LedgerRefused: it must be asked, and cannot be opened.
    """
    if not anything_installed(config.storage.root):
        return standing(config.models.folders)
    ledger = open_ledger(config.ledger_url)
    try:
        catalogue = Catalogue(ledger, config)
        return catalogue.serving(), catalogue.faults
    finally:
        ledger.close()


def packages_now(config: Config) -> tuple[dict[str, Package], list[str]]:
    """Return the package that serves each name on a box, and a sentence for each that cannot be used.

    Raises:
        LedgerRefused: as for `serving_now`.
    """
    serving, faults = serving_now(config)
    found = {name: served.package for name, served in serving.items() if served.package is not None}
    return found, [*faults, *(served.fault for served in serving.values() if served.fault)]


def _by_name(packages: Iterable[Package]) -> dict[str, Served]:
    return {
        name: Served(
            name=name,
            version=package.manifest.version,
            digest=package.digest,
            origin=origin_of(package),
            package=package,
        )
        for name, package in highest(packages).items()
    }
