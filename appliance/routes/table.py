"""The routes of a configuration, compiled, each with the package of its model.

Everything that can be wrong with a route is found here, whole, before the box starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core.config import Config, ConfigError, Route
from appliance.core.packages import find_packages
from appliance.routes.expression import Condition, ExpressionError, compile_condition
from models.package import Package


@dataclass(frozen=True, kw_only=True)
class ActiveRoute:
    """A route ready to be asked: the site's condition, the model's, and the model itself."""

    route: Route
    when: Condition
    accepts: Condition | None
    package: Package


def compile_routes(config: Config) -> tuple[ActiveRoute, ...]:
    """Compile every route and find its model.

    Raises:
        ConfigError: with a sentence for every fault of every route and package.
    """
    packages, faults = find_packages(config.models.folders)
    active: list[ActiveRoute] = []
    for route in config.routes:
        found = _compile(route, packages)
        if isinstance(found, ActiveRoute):
            active.append(found)
        else:
            faults += found
    if faults:
        raise ConfigError(faults)
    return tuple(active)


def _compile(route: Route, packages: Mapping[str, Package]) -> ActiveRoute | Sequence[str]:
    package = packages.get(route.model)
    if package is None:
        there = ", ".join(sorted(packages)) or "none"
        return [f"routes.{route.name}.model: no package is called {route.model!r}; there are: {there}"]
    try:
        when = compile_condition(route.when)
    except ExpressionError as error:
        return [f"routes.{route.name}.when: {error}"]
    text = package.manifest.accepts.when
    try:
        accepts = compile_condition(text) if text else None
    except ExpressionError as error:
        return [f"model {route.model}, manifest.toml, accepts.when: {error}"]
    return ActiveRoute(route=route, when=when, accepts=accepts, package=package)
