"""Which series of a study that still gathers the routes would take, as things stand.

Promises: asked again whenever more came; what is said now decides nothing and is written nowhere.
Never: speaks for the conductor, who asks the routes once the study is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from appliance.core.config import Config
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from appliance.routes.match import Candidate, match
from appliance.routes.table import ActiveRoute, RouteTable
from models.analysis import check_geometry, goes_ahead
from models.package import Package


class Interest:
    """The site's routes, asked early."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        """Compile the routes.

        Raises:
            ConfigError: a route or a package has faults.
        """
        # A catalogue of its own: whoever looks whether versions changed is told so once.
        self._table = RouteTable(config, Catalogue(ledger, config))

    def refresh(self) -> None:
        """Follow what was activated since the last look."""
        self._table.refresh()

    @property
    def goes_ahead(self) -> bool:
        """Say whether any route's network may be asked about slices before the rest of a series is here."""
        packages = (active.model.package for active in self._table.routes)
        return any(package is not None and goes_ahead(package.manifest) for package in packages)

    def could_take(self, facts: Mapping[str, Any]) -> bool:
        """Say whether any route may want a series, geometry apart: that is known when all of it is here."""
        return any(
            active.when.ask(facts).holds and (active.accepts is None or active.accepts.ask(facts).holds)
            for active in self._table.routes
        )

    def would_take(self, candidates: Sequence[Candidate]) -> Iterator[tuple[ActiveRoute, Package, Candidate]]:
        """Give each route that would run now, the most urgent first, with its model and the series."""
        for active in sorted(self._table.routes, key=lambda one: -one.route.priority):
            package = active.model.package
            if package is None:
                continue
            made = match(active.when, active.accepts, _limits_of(package), candidates)
            if made.chosen is not None and not made.refusal:
                yield active, package, made.chosen


def _limits_of(package: Package) -> Any:
    return lambda facts: check_geometry(package.manifest, facts)
