"""The routes of a configuration, compiled, each with the model that serves it now.

Everything that can be wrong with a route is found here, whole, before the box starts.
A running box follows the versions that are activated: a route whose model changed is compiled anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core import log
from appliance.core.config import Config, ConfigError, Route
from appliance.ledger.catalogue import Catalogue, Served, serving_now
from appliance.ledger.engine import LedgerRefused, Tx
from appliance.routes.expression import (
    Condition,
    ExpressionError,
    compile_condition,
    compile_study_condition,
)

_log = log.get("routes")


@dataclass(frozen=True, kw_only=True)
class ActiveRoute:
    """A route ready to be asked: the site's condition, the model's, and the model itself.

    `earlier` is the condition on earlier studies to compare with; none where any will do, or none is wanted.
    """

    route: Route
    when: Condition
    accepts: Condition | None
    model: Served
    earlier: Condition | None = None


class RouteTable:
    """The compiled routes of a running box."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        """Compile every route.

        Raises:
            ConfigError: with a sentence for every fault of every route and package.
        """
        self._config, self._catalogue = config, catalogue
        catalogue.refresh()
        routes, faults = _compile_all(config, catalogue.serving())
        if faults or catalogue.faults:
            raise ConfigError([*catalogue.faults, *faults])
        self.routes = routes

    def refresh(self) -> None:
        """Follow what was activated since the last look; a route that cannot follow stays as it was."""
        if not self._catalogue.refresh():
            return
        before = {active.route.name: active for active in self.routes}
        routes, faults = _compile_all(self._config, self._catalogue.serving())
        for fault in faults:
            _log.error("routes.refused", fault=fault)
        after = {active.route.name: active for active in routes}
        self.routes = tuple(after.get(name, active) for name, active in before.items())
        for active in self.routes:
            if active.model.digest != before[active.route.name].model.digest:
                _log.info(
                    "routes.followed",
                    route=active.route.name,
                    model=active.model.name,
                    version=active.model.version,
                )

    def is_fresh(self, tx: Tx) -> bool:
        """Say, inside a transaction, whether the routes still name what serves."""
        return self._catalogue.is_fresh(tx)


def compile_routes(config: Config) -> tuple[ActiveRoute, ...]:
    """Compile every route as the box would at its start.

    Raises:
        ConfigError: with a sentence for every fault of every route and package.
    """
    try:
        serving, faults = serving_now(config)
    except LedgerRefused as error:
        raise ConfigError([str(error)]) from error
    routes, more = _compile_all(config, serving)
    if faults or more:
        raise ConfigError([*faults, *more])
    return routes


def _compile_all(config: Config, serving: Mapping[str, Served]) -> tuple[tuple[ActiveRoute, ...], list[str]]:
    active: list[ActiveRoute] = []
    faults: list[str] = []
    for route in config.routes:
        found = _compile(route, serving)
        if isinstance(found, ActiveRoute):
            active.append(found)
        else:
            faults += found
    return tuple(active), faults


def _compile(route: Route, serving: Mapping[str, Served]) -> ActiveRoute | Sequence[str]:
    model = serving.get(route.model)
    if model is None:
        there = ", ".join(sorted(serving)) or "none"
        return [f"routes.{route.name}.model: no package is called {route.model!r}; there are: {there}"]
    try:
        when = compile_condition(route.when)
    except ExpressionError as error:
        return [f"routes.{route.name}.when: {error}"]
    # A model whose files are damaged is asked for all the same: its job then says so where a person sees it.
    text = "" if model.package is None else model.package.manifest.accepts.when
    try:
        accepts = compile_condition(text) if text else None
    except ExpressionError as error:
        return [f"model {route.model}, manifest.toml, accepts.when: {error}"]
    wanted = "" if route.priors is None else route.priors.when
    try:
        earlier = compile_study_condition(wanted) if wanted else None
    except ExpressionError as error:
        return [f"routes.{route.name}.priors.when: {error}"]
    return ActiveRoute(route=route, when=when, accepts=accepts, model=model, earlier=earlier)
