"""An engine in a process of its own: the same interface, with a child behind it that may be killed.

Promises: whatever a vendor's library does, a call ends at its deadline with an answer or an InferenceError;
a child that died is started again by the next call; and no child outlives the box.
Never: takes anything but JSON and checked tensors from the child.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from appliance.core import log
from appliance.inference.child import Fields, ServingChild
from appliance.inference.engine import (
    BuildProgress,
    BuildReport,
    Engine,
    EnginePlan,
    EngineProvenance,
    InferenceError,
    Probe,
    Tensors,
)
from appliance.inference.line import WireError
from appliance.inference.memory import private_bytes
from appliance.inference.settings import EngineSettings
from appliance.inference.shared import Arena, Slip, SlipError, bytes_of
from models.package import Package

_log = log.get("inference")
Maker = Callable[[EngineSettings], Engine]
# Far away already: a process of its own would protect nothing, and let one call through at a time.
REMOTE = frozenset({"kserve"})
# Engines whose network lies in the memory of their own process.
_IN_MEMORY = frozenset({"cpu", "openvino"})


def hosted(makers: Mapping[str, Maker]) -> dict[str, Maker]:
    """Wrap makers so that each engine they make lives in a child; remote engines stay as they are."""
    return {
        name: make if name in REMOTE else partial(EngineProcess, name, make) for name, make in makers.items()
    }


class EngineProcess:
    """One model's engine in one child; see `appliance.inference.engine.Engine`.

    `make` is a function or class that a module holds by name; the child imports it. May be used from several
    threads; calls go one at a time.
    """

    def __init__(self, name: str, make: Maker, settings: EngineSettings) -> None:
        self.name = name
        self._limits = settings.limits
        self._opening, self._root = pickle.dumps((make, settings)), _root_of(make)
        self._turn = threading.Lock()
        self._child: ServingChild | None = None
        self._loaded: bytes | None = None
        self._provenance: EngineProvenance | None = None
        self._asks: Arena | None = None
        self._answers: Arena | None = None

    @property
    def pid(self) -> int | None:
        """Give the process id of the child, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def probe(self) -> Probe:
        """Ask the child; one that dies of the question is an engine that cannot run here."""
        try:
            said = self._ask("probe", seconds=self._limits.probe_seconds_max)
        except InferenceError as error:
            return Probe(ok=False, reason=error.sentence.rstrip("."))
        return Probe(ok=bool(said["ok"]), reason=str(said["reason"]))

    def plan(self, package: Package) -> EnginePlan:
        """Let the child name what is to be built: only it sees the device.

        Raises:
            InferenceError: the child could not be asked.
        """
        said = self._ask("plan", seconds=self._limits.probe_seconds_max, body=pickle.dumps(package))
        return EnginePlan(package=package, key=str(said["key"]), parts=_texts(said["parts"]))

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Build in the child, which a build that hangs or crashes takes with it.

        Raises:
            InferenceError: inference.build, inference.deadline or inference.crashed.
        """

        def heard(said: Fields) -> None:
            if progress is not None and "progress" in said:
                progress(float(said["progress"]), str(said.get("word", "")))

        said = self._ask(
            "build",
            seconds=self._limits.build_seconds_max,
            body=pickle.dumps(plan),
            heard=heard,
            folder=str(folder),
        )
        return BuildReport(files=tuple(str(name) for name in said["files"]), details=dict(said["details"]))

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Load in the child, and remember what: a child that dies later is started with it again.

        Raises:
            InferenceError: inference.load, inference.deadline or inference.crashed.
        """
        self._loaded = None
        what = pickle.dumps((plan, folder))
        said = self._ask("load", seconds=self._limits.load_seconds_max, body=what)
        self._loaded, self._provenance = what, _provenance_of(said)

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once in the child.

        The engine itself is given the deadline; a child that is later than that by a little is killed.

        Raises:
            InferenceError: inference.deadline, inference.failed or inference.crashed; the next call goes on.
        """
        assert self._loaded is not None, "load comes before infer"
        until = time.monotonic() + deadline_seconds
        with self._child_until(until) as child:
            try:
                asks = self._put(child, batch, until)
                said = child.ask(
                    {"do": "infer", "asks": asks, "deadline_seconds": max(until - time.monotonic(), 0.0)},
                    until=until + self._limits.deadline_grace_seconds,
                    heard=partial(self._make_room, child, until),
                )
                return self._taken(child, said)
            except InferenceError as error:
                if error.word == "inference.failed":
                    # A process whose CUDA context is lost fails at every later call: the next gets a new one.
                    self._forget()
                raise

    def memory_bytes(self) -> int:
        """Give what the engine says it holds; where that is in its process, all that the process holds."""
        child = self._child
        if child is None or self._loaded is None:
            return 0
        said = self._ask("memory", seconds=self._limits.probe_seconds_max)
        engine_bytes = int(said["memory_bytes"])
        if self.name not in _IN_MEMORY:
            return engine_bytes
        tensors_bytes = sum(arena.size_bytes for arena in (self._asks, self._answers) if arena is not None)
        return max(engine_bytes, private_bytes(child.pid)) + tensors_bytes

    def unload(self) -> None:
        """End the child; a call that is under way has a little time, and then ends with it."""
        self._loaded = None
        while not self._turn.acquire(timeout=self._limits.serving_end_seconds_max):
            child = self._child
            if child is not None:
                child.kill()
        try:
            self._forget()
        finally:
            self._turn.release()

    def provenance(self) -> EngineProvenance:
        """Say what the child said when it loaded, or says now.

        Raises:
            InferenceError: nothing was loaded yet and the child could not be asked.
        """
        if self._provenance is None:
            said = self._ask("provenance", seconds=self._limits.probe_seconds_max)
            return _provenance_of(said)
        return self._provenance

    def _ask(
        self,
        do: str,
        *,
        seconds: float,
        body: bytes = b"",
        heard: Callable[[Fields], None] | None = None,
        **fields: str,
    ) -> Any:
        until = time.monotonic() + seconds
        with self._child_until(until) as child:
            return child.ask({"do": do, **fields}, until=until, body=body, heard=heard)

    @contextmanager
    def _child_until(self, until: float) -> Iterator[ServingChild]:
        """Wait for this caller's turn, and see that there is a child that has loaded what was loaded."""
        if not self._turn.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise InferenceError("inference.deadline", "The engine was busy with other calls all the time.")
        try:
            yield self._child if self._child is not None and self._child.alive else self._started()
        finally:
            self._turn.release()

    def _started(self) -> ServingChild:
        again = self._loaded is not None
        self._forget()
        child = self._child = ServingChild(self.name, self._limits)
        until = time.monotonic() + self._limits.serving_start_seconds_max
        try:
            child.ask({"do": "open", "root": self._root}, until=until, body=self._opening)
            if self._loaded is not None:
                until = time.monotonic() + self._limits.load_seconds_max
                child.ask({"do": "load"}, until=until, body=self._loaded)
        except BaseException:
            self._forget()
            raise
        _log.info("engine.restarted" if again else "engine.started", engine=self.name, pid=child.pid)
        return child

    def _forget(self) -> None:
        """Let go of the child and of the memory that was shared with it."""
        child, self._child = self._child, None
        if child is not None:
            child.close()
        for arena in (self._asks, self._answers):
            if arena is not None:
                arena.close()
        self._asks = self._answers = None

    def _put(self, child: ServingChild, batch: Tensors, until: float) -> list[Slip]:
        """Lay a call's tensors into shared memory, in more of it where there is too little."""
        needed = bytes_of(list(batch.values()))
        if self._asks is None or self._asks.size_bytes < needed:
            arena = self._arena(needed)
            former, self._asks = self._asks, arena
            if former is not None:
                former.close()
            child.ask({"do": "share", "for": ["asks"]}, until=until, fds=[arena.fd])
        try:
            return self._asks.put(batch)
        except SlipError as error:
            raise InferenceError("inference.failed", f"The input cannot be passed on: {error}.") from error

    def _make_room(self, child: ServingChild, until: float, said: Fields) -> None:
        """Give the child room for an answer that is larger than any before."""
        needed = said.get("need_bytes")
        if not isinstance(needed, int) or needed < 0:
            raise WireError("not an answer")
        try:
            arena = self._arena(needed)
        except InferenceError:
            child.close()
            raise
        former, self._answers = self._answers, arena
        if former is not None:
            former.close()
        child.tell({"for": ["answers"]}, until=until + self._limits.deadline_grace_seconds, fds=[arena.fd])

    def _arena(self, size_bytes: int) -> Arena:
        if size_bytes > self._limits.tensors_bytes_max:
            raise InferenceError(
                "inference.memory",
                f"The tensors of one call have {size_bytes >> 20} MiB; "
                f"at most {self._limits.tensors_bytes_max >> 20} MiB pass.",
            )
        try:
            return Arena.of(size_bytes)
        except OSError as error:
            raise InferenceError("inference.memory", "The box has no memory for the tensors.") from error

    def _taken(self, child: ServingChild, said: Any) -> dict[str, NDArray[Any]]:
        try:
            assert self._answers is not None, "an answer lies in memory that was shared"
            return self._answers.copies(said["answers"])
        except (SlipError, KeyError, TypeError, AssertionError) as error:
            child.close()
            raise InferenceError(
                "inference.crashed", "The engine's process gave something that is no answer; it was ended."
            ) from error


def _provenance_of(said: Fields) -> EngineProvenance:
    return EngineProvenance(text=str(said["text"]), details=_texts(said["details"]))


def _texts(said: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in said.items()}


def _root_of(make: Maker) -> str:
    """Give the folder under which a child finds the maker's module."""
    module = sys.modules[getattr(make, "__module__", type(make).__module__)]
    assert module.__file__ is not None, "a maker is found by its module's name"
    return str(Path(module.__file__).resolve().parents[module.__name__.count(".")])
