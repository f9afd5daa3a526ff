"""The models that are loaded, within what they may hold together: opened when asked for, put away for room.

Promises: what is loaded and what is being loaded never holds more than the budget allows, as far as models
keep what their manifests say; a model in use or pinned is never put away; nobody waits for a model that
somebody else loads, but for the same one; a model is ready only when its calls are as fast as they will be.
Never: chooses an engine. It is given a function that opens one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from appliance.core import log
from appliance.inference.batching import Batcher
from appliance.inference.choose import Opened, Upgrade
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.memory import Budget
from appliance.inference.process import REMOTE
from appliance.inference.seat import Seat
from appliance.inference.warming import Footprint, footprint_of, warm
from models.package import Package

_log = log.get("inference")
_MIB = 1 << 20

Open = Callable[[Package], Opened]


class _State(Enum):
    COMING = auto()
    READY = auto()
    LEAVING = auto()


@dataclass(eq=False, kw_only=True)
class _Serving:
    """A loaded engine with the queue before it. It goes when it is `retired` and nobody sits there.

    `again` asks whether a better engine that is remote has come back; it was last asked `asked_at`.
    """

    engine: Engine
    batcher: Batcher
    stepped_down: str | None
    again: Upgrade | None = None
    asked_at: float = field(default_factory=time.monotonic)
    users: int = 0
    retired: bool = False

    def end(self) -> None:
        self.batcher.close()
        self.engine.unload()


@dataclass(eq=False, kw_only=True)
class _Model:
    """A package's place in the pool. `bytes` counts as soon as it was admitted; a `guest` moves nobody."""

    package: Package
    pinned: bool
    guest: bool = False
    state: _State = _State.COMING
    bytes: int = 0
    used_at: int = 0
    serving: _Serving | None = None

    @property
    def idle(self) -> bool:
        return self.state is _State.READY and self.serving is not None and not self.serving.users


class Pool:
    """Loaded models by the digest of their package; any thread may ask."""

    def __init__(
        self,
        open_model: Open,
        *,
        limits: InferenceLimits,
        budget: Budget,
        pinned: Collection[str] = (),
        batch_wait_seconds: float = 0.0,
    ) -> None:
        self._open, self._limits, self._budget = open_model, limits, budget
        self._pinned, self._batch_wait_seconds = frozenset(pinned), batch_wait_seconds
        self._changed = threading.Condition()
        self._models: dict[str, _Model] = {}
        self._uses = count(1)
        self._closed = False

    @contextmanager
    def seat(self, package: Package, *, priority: int = 5, guest: bool = False) -> Iterator[Seat]:
        """Give a place at a model, which is loaded and warmed up first where it is not; it stays that long.

        For a `guest` no other model is put away and none is waited for.

        Raises:
            InferenceError: inference.memory, there is no room for it; inference.no_engine; inference.closed.
        """
        serving = self._sit_down(package, guest=guest)
        try:
            with serving.batcher.calling(priority) as caller:
                yield Seat(inner=serving.engine, caller=caller, stepped_down=serving.stepped_down)
        finally:
            self._stand_up(package, serving)

    def loaded(self) -> dict[str, int]:
        """Give the bytes of each model that is ready, by digest, the one used longest ago first."""
        with self._changed:
            ready = [model for model in self._models.values() if model.state is _State.READY]
            return {
                model.package.digest: model.bytes for model in sorted(ready, key=lambda model: model.used_at)
            }

    def has_room(self, package: Package) -> bool:
        """Say whether a model could be loaded without putting another away that is no guest."""
        with self._changed:
            room = self._room_bytes()
            guests = sum(model.bytes for model in self._models.values() if model.guest and model.idle)
            return room is None or _declared_bytes(package) <= room + guests

    def close(self) -> None:
        """Put every model away and load none any more."""
        with self._changed:
            self._closed = True
            models, self._models = list(self._models.values()), {}
            self._changed.notify_all()
        for model in models:
            if model.serving is not None:
                model.serving.end()

    def _sit_down(self, package: Package, *, guest: bool) -> _Serving:
        model, serving = self._find_or_begin(package, guest=guest)
        if serving is not None:
            return serving
        try:
            self._admit(model, _declared_bytes(package))
            serving, upgrade = self._opened(model)
        except BaseException:
            with self._changed:
                self._drop(model)
            raise
        with self._changed:
            model.serving, model.state = serving, _State.READY
            serving.users, model.used_at = 1, next(self._uses)
            closed = self._closed
            self._changed.notify_all()
        if closed:
            serving.end()
            raise _closed()
        if upgrade is not None:
            self._beside(model, upgrade)
        return serving

    def _find_or_begin(self, package: Package, *, guest: bool) -> tuple[_Model, _Serving | None]:
        """Sit down at a ready model, or begin to load it; wait while somebody else does, or puts it away."""
        until = time.monotonic() + self._limits.model_wait_seconds_max
        with self._changed:
            while True:
                if self._closed:
                    raise _closed()
                model = self._models.get(package.digest)
                if model is None:
                    pinned = package.manifest.name in self._pinned and not guest
                    model = _Model(package=package, pinned=pinned, guest=guest)
                    self._models[package.digest] = model
                    return model, None
                if model.state is _State.READY and model.serving is not None:
                    if not guest:
                        model.guest, model.pinned = False, package.manifest.name in self._pinned
                    model.serving.users += 1
                    model.used_at = next(self._uses)
                    # A better engine may take its place as soon as nobody holds the lock.
                    return model, model.serving
                if not self._changed.wait(max(until - time.monotonic(), 0.0)):
                    raise InferenceError("inference.busy", "The model is being loaded for too long.")

    def _stand_up(self, package: Package, serving: _Serving) -> None:
        """Leave a place; an engine that crashed is opened anew for the next job, or another is."""
        with self._changed:
            serving.users -= 1
            model = self._models.get(package.digest)
            ends = serving.retired and not serving.users
            again = None if model is None or model.serving is not serving else self._due(serving)
            asking = model
            if model is not None and model.serving is serving and serving.batcher.crashed and model.idle:
                model.state = _State.LEAVING
            else:
                model = None
            self._changed.notify_all()
        if model is not None:
            self._put_away(model)
        elif ends:
            serving.end()
        elif again is not None and asking is not None:
            self._beside(asking, again)

    def _due(self, serving: _Serving) -> Upgrade | None:
        """Say whether it is time to ask again for a better engine that was not there."""
        now = time.monotonic()
        if serving.again is None or now - serving.asked_at < self._limits.remote_again_seconds:
            return None
        serving.asked_at = now
        return serving.again

    def _beside(self, model: _Model, upgrade: Upgrade) -> None:
        threading.Thread(target=self._upgrade, args=(model, upgrade), name="upgrade", daemon=True).start()

    def _admit(self, model: _Model, needed_bytes: int) -> None:
        """Wait until there is room for a model, putting others away that nobody uses.

        Raises:
            InferenceError: inference.memory.
        """
        until = time.monotonic() + self._limits.memory_wait_seconds_max
        while (victim := self._victim_for(model, needed_bytes, until)) is not None:
            self._put_away(victim)

    def _victim_for(self, model: _Model, needed_bytes: int, until: float) -> _Model | None:
        """Name the model that must go next; none once `model` is admitted."""
        with self._changed:
            while True:
                room = self._room_bytes()
                if room is None or needed_bytes <= room:
                    model.bytes = needed_bytes
                    return None
                self._refuse_what_never_fits(model, needed_bytes)
                if model.guest:
                    raise InferenceError("inference.memory", "There is no room beside the models that serve.")
                idle = [other for other in self._models.values() if other.idle and not other.pinned]
                if idle:
                    victim = min(idle, key=lambda other: (not other.guest, other.used_at))
                    victim.state = _State.LEAVING
                    return victim
                passing = [o for o in self._models.values() if o is not model and not o.pinned and o.bytes]
                if not passing or not self._changed.wait(max(until - time.monotonic(), 0.0)):
                    raise InferenceError(
                        "inference.memory",
                        f"The model needs {_mib(needed_bytes)} MiB and {_mib(max(room, 0))} MiB are free; "
                        "what else is loaded is in use.",
                    )

    def _refuse_what_never_fits(self, model: _Model, needed_bytes: int) -> None:
        pinned = sum(o.bytes for o in self._models.values() if o.pinned and o is not model)
        most = self._budget.most_bytes(self._held_bytes(), pinned)
        if most is not None and needed_bytes > most:
            why = "(inference.memory_gib)" if self._budget.bytes_max is not None else "on this machine"
            raise InferenceError(
                "inference.memory",
                f"The model needs {_mib(needed_bytes)} MiB; models may hold {_mib(max(most, 0))} MiB "
                f"{why}, beside the {_mib(pinned)} MiB of those that are pinned.",
            )

    def _opened(self, model: _Model) -> tuple[_Serving, Upgrade | None]:
        """Open an engine, make it as fast as it will be, and see what it really holds."""
        opened = self._open(model.package)
        try:
            footprint = footprint_of(model.package, self._limits)
            self._warm(model.package, opened.engine, footprint)
            self._weigh(model, opened.engine.memory_bytes())
        except BaseException:
            opened.engine.unload()
            raise
        serving = self._serving(opened.engine, footprint, opened.stepped_down)
        serving.again = opened.again
        return serving, opened.upgrade

    def _warm(self, package: Package, engine: Engine, footprint: Footprint) -> None:
        start = time.monotonic()
        warm(engine, footprint, self._limits)
        _log.info(
            "model.ready",
            model=package.manifest.name,
            engine=engine.name,
            warm_up_seconds=round(time.monotonic() - start, 3),
        )

    def _weigh(self, model: _Model, held_bytes: int) -> None:
        """Count what a model really holds; one that holds more than it said must fit all the same."""
        declared = model.bytes
        with self._changed:
            model.bytes = held_bytes
            self._changed.notify_all()
        if held_bytes <= declared or self._budget.bytes_max is None:
            return
        _log.warning(
            "model.larger", model=model.package.manifest.name, mib=_mib(held_bytes), said_mib=_mib(declared)
        )
        with self._changed:
            model.bytes = 0
        self._admit(model, held_bytes)

    def _serving(self, engine: Engine, footprint: Footprint, stepped_down: str | None) -> _Serving:
        remote = engine.name in REMOTE
        batcher = Batcher(
            engine,
            rows_max=1 if remote else footprint.rows_max,
            limits=self._limits,
            wait_seconds=self._batch_wait_seconds,
            lanes=self._limits.remote_calls_max if remote else 1,
        )
        return _Serving(engine=engine, batcher=batcher, stepped_down=stepped_down)

    def _upgrade(self, model: _Model, upgrade: Upgrade) -> None:
        """Let a better engine take over once it is built, judged and warm; jobs of the old one end on it."""
        try:
            engine, stepped_down = upgrade()
        # A thread's main loop: the engine that serves goes on, whatever becomes of a better one.
        except Exception as error:  # noqa: BLE001
            _log.error("engine.unforeseen", error=type(error).__name__, where=log.where(error))
            return
        if engine is None:
            with self._changed:
                if model.serving is not None:
                    model.serving.stepped_down = stepped_down
            return
        try:
            footprint = footprint_of(model.package, self._limits)
            self._warm(model.package, engine, footprint)
            held_bytes = engine.memory_bytes()
            with self._changed:
                self._refuse_what_never_fits(model, held_bytes)
        except InferenceError as error:
            _log.error(error.word, model=model.package.manifest.name, reason=error.sentence)
            engine.unload()
            return
        self._take_over(model, self._serving(engine, footprint, stepped_down), held_bytes)

    def _take_over(self, model: _Model, better: _Serving, held_bytes: int) -> None:
        with self._changed:
            former = model.serving
            wanted = model.state is _State.READY and self._models.get(model.package.digest) is model
            if wanted and former is not None:
                model.serving, model.bytes, former.retired = better, held_bytes, True
                _log.info("model.upgraded", model=model.package.manifest.name, engine=better.engine.name)
        if not wanted:
            better.end()
        elif former is not None and not former.users:
            former.end()

    def _put_away(self, model: _Model) -> None:
        """Unload a model that is leaving, and only then let go of its bytes."""
        if model.serving is not None:
            model.serving.end()
        _log.info("model.put_away", model=model.package.manifest.name, mib=_mib(model.bytes))
        with self._changed:
            self._drop(model)

    def _drop(self, model: _Model) -> None:
        if self._models.get(model.package.digest) is model:
            del self._models[model.package.digest]
        self._changed.notify_all()

    def _held_bytes(self) -> int:
        return sum(model.bytes for model in self._models.values() if model.state is not _State.COMING)

    def _room_bytes(self) -> int | None:
        coming = sum(model.bytes for model in self._models.values() if model.state is _State.COMING)
        return self._budget.room_bytes(self._held_bytes(), coming)


def _closed() -> InferenceError:
    return InferenceError("inference.closed", "The box is being stopped.")


def _declared_bytes(package: Package) -> int:
    return package.manifest.resources.memory_mib * _MIB


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // _MIB)
