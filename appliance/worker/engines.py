"""The engines a worker uses: each model's in a process of its own, as many loaded as the memory budget takes.

Which package a name or a digest means is the catalogue's; what is loaded, when, and for whom is the pool's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from appliance.core import log
from appliance.core.config import Config
from appliance.inference.choose import MAKERS, Makers, Opened, open_now
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.memory import Budget, available_bytes
from appliance.inference.pool import Pool
from appliance.inference.process import REMOTE, hosted
from appliance.inference.settings import EngineSettings, settings_of
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from models.package import Package, PackageError

_log = log.get("worker")


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
    """The models of this box, ready to be used; any thread may ask.

    `makers` makes the engines; those that ship, each in a child process, unless something else is given.
    """

    def __init__(self, ledger: Ledger, config: Config, *, makers: Makers | None = None) -> None:
        section = config.inference
        self._wanted, self._pinned = section.engines, section.pinned
        self._routed = tuple(dict.fromkeys(route.model for route in config.routes))
        self._settings = settings_of(config)
        self._gate = GoldenGate(limits=self._settings.limits)
        self._makers = hosted(MAKERS) if makers is None else makers
        self._catalogue = Catalogue(ledger, config)
        for fault in self._catalogue.faults:
            _log.error("model.refused", fault=fault)
        self._pool = Pool(
            self._open,
            limits=self._settings.limits,
            budget=_budget(self._wanted, self._settings),
            pinned=self._pinned,
            batch_wait_seconds=section.batch_wait_ms / 1000,
        )

    def package(self, digest: str) -> Package | None:
        """Return a package of this box by its digest."""
        return self._catalogue.known(digest)

    @contextmanager
    def serve(self, name: str, digest: str, *, priority: int = 5, guest: bool = False) -> Iterator[Serving]:
        """Give a loaded engine for a model, which stays loaded until the end of the block.

        A `guest` takes room that is free, and no other model's.

        Raises:
            ModelGone: no package on this box has the digest.
            InferenceError: no engine of the configuration can run it, or there is no room for it.
        """
        package = self.package(digest)
        if package is None:
            raise ModelGone(f"model {name} {digest[:19]} is no longer on this box")
        with self._pool.seat(package, priority=priority, guest=guest) as seat:
            yield Serving(package=package, engine=seat, stepped_down=seat.stepped_down)

    def is_loaded(self, digest: str) -> bool:
        """Say whether a model can be used without loading it."""
        return digest in self._pool.loaded()

    def refresh(self) -> None:
        """See whether another version of a model serves now, and load it beside the running work.

        A look at which nothing changed costs one small query.
        """
        if self._catalogue.refresh():
            threading.Thread(target=self._load_ahead, name="warm-up", daemon=True).start()

    def warm_up(self) -> None:
        """Load and check the models of the routes, pinned ones first, as far as there is room.

        One that cannot be served is said so at once.
        """
        serving = self._catalogue.serving()
        for name in sorted(self._routed, key=lambda name: name not in self._pinned):
            package = serving[name].package if name in serving else None
            if package is None or not self._pool.has_room(package):
                _log.info("model.not_loaded", model=name, reason="gone" if package is None else "no room")
                continue
            try:
                with self.serve(name, package.digest):
                    pass
            except (InferenceError, ModelGone) as error:
                word = error.word if isinstance(error, InferenceError) else "model.gone"
                _log.error(word, model=name, reason=str(error))

    def close(self) -> None:
        """Put every model away."""
        self._pool.close()

    def _load_ahead(self) -> None:
        try:
            self.warm_up()
        # A thread's main loop: the job that needs the model meets the same fault, and says it.
        except Exception as error:  # noqa: BLE001
            _log.error("model.unforeseen", error=type(error).__name__, where=log.where(error))

    def _open(self, package: Package) -> Opened:
        """Open a model's best engine, from files that are held against their digest once more."""
        try:
            found = self._catalogue.open(package.digest)
        except PackageError as error:
            raise ModelGone(
                f"model {package.manifest.name} cannot be used: {'; '.join(error.faults)}"
            ) from error
        if found is None:
            raise ModelGone(f"model {package.manifest.name} {package.digest[:19]} is no longer on this box")
        opened = open_now(found, self._wanted, settings=self._settings, gate=self._gate, makers=self._makers)
        _log.info(
            "model.loaded",
            model=package.manifest.name,
            engine=opened.engine.name,
            stepped_down=opened.stepped_down,
        )
        return opened


def _budget(wanted: Sequence[str], settings: EngineSettings) -> Budget:
    """Say what models may hold; those of a remote server hold nothing here."""
    if set(wanted) <= REMOTE:
        return Budget(bytes_max=None, reserve_bytes=0, available=lambda: None)
    return Budget(
        bytes_max=settings.memory_bytes_max,
        reserve_bytes=settings.limits.memory_reserve_bytes,
        available=partial(available_bytes, wanted, settings.device),
    )
