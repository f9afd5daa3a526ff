"""The engines a worker keeps loaded: each model's, opened when first asked for, the least used closed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from appliance.core import log
from appliance.core.config import Config
from appliance.core.packages import find_packages
from appliance.inference.choose import open_engine
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from models.package import Package

_log = log.get("worker")
_LOADED_MAX = 4


class ModelGone(Exception):
    """A job names a model package that is no longer on this box."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A loaded engine with the package it serves. `stepped_down` says why a preferred engine does not run."""

    package: Package
    engine: Engine
    stepped_down: str | None

    @property
    def engine_text(self) -> str:
        """Return the engine as people read it."""
        return self.engine.provenance().text


class EngineShelf:
    """Loaded engines by package digest, the one used longest ago first."""

    def __init__(self, config: Config) -> None:
        self._wanted, self._routes = config.inference.engines, config.routes
        self._limits = InferenceLimits(threads_max=config.inference.threads)
        self._gate = GoldenGate(limits=self._limits)
        packages, faults = find_packages(config.models.folders)
        for fault in faults:
            _log.error("model.refused", fault=fault)
        self._packages = {package.digest: package for package in packages.values()}
        self._loaded: OrderedDict[str, Serving] = OrderedDict()

    def package(self, digest: str) -> Package | None:
        """Return a package of this box by its digest."""
        return self._packages.get(digest)

    def serve(self, name: str, digest: str) -> Serving:
        """Return a loaded engine for a model.

        Raises:
            ModelGone: no package on this box has the digest.
            InferenceError: no engine of the configuration can run it.
        """
        if digest not in self._loaded:
            package = self.package(digest)
            if package is None:
                raise ModelGone(f"model {name} {digest[:19]} is no longer on this box")
            self._make_room()
            engine, stepped_down = open_engine(package, self._wanted, limits=self._limits, gate=self._gate)
            self._loaded[digest] = Serving(package=package, engine=engine, stepped_down=stepped_down)
            _log.info("model.loaded", model=name, engine=engine.name, stepped_down=stepped_down)
        self._loaded.move_to_end(digest)
        return self._loaded[digest]

    def warm_up(self) -> None:
        """Load and check the models of the routes; one that cannot be served is said so at once."""
        wanted = {route.model for route in self._routes}
        for package in [p for p in self._packages.values() if p.manifest.name in wanted][:_LOADED_MAX]:
            try:
                self.serve(package.manifest.name, package.digest)
            except InferenceError as error:
                _log.error(error.word, model=package.manifest.name, reason=error.sentence)

    def _make_room(self) -> None:
        while len(self._loaded) >= _LOADED_MAX:
            _, oldest = self._loaded.popitem(last=False)
            oldest.engine.unload()
