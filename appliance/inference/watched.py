"""A loaded engine that leaves a mark while it works, and lets go of its files when it is unloaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

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
from appliance.inference.quarantine import Mark, Quarantine

_ENDED = frozenset({"inference.crashed", "inference.deadline"})


class WatchedEngine:
    """Passes everything on to the engine it holds; see `appliance.inference.engine.Engine`.

    `hosted`: the engine lives in a process of its own, whose end it reports itself (inference.crashed); this
    process ending is then no crash of the engine's.
    `recheck` looks at its files again before a process that was
    started anew loads them; it raises inference.load when they are no longer what was judged.
    """

    def __init__(
        self,
        inner: Engine,
        plan: EnginePlan,
        quarantine: Quarantine,
        *,
        hosted: bool,
        recheck: Callable[[], None] | None = None,
    ) -> None:
        self.inner = inner
        self._recheck, self._doubtful = recheck, False
        self._plan, self._quarantine, self._hosted = plan, quarantine, hosted
        self._held = ExitStack()
        self._mark: Mark | None = None
        self._working, self._lock = 0, threading.Lock()

    @property
    def name(self) -> str:
        """Give the name configuration calls it by."""
        return self.inner.name

    def probe(self) -> Probe:
        """Ask the engine."""
        return self.inner.probe()

    def plan(self, package: Any) -> EnginePlan:
        """Ask the engine."""
        return self.inner.plan(package)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Ask the engine."""
        return self.inner.build(plan, folder=folder, progress=progress)

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Load with a mark that says so; `settled` says that it came through.

        Raises:
            InferenceError: as the engine says; a crash of its process is counted.
        """
        model = plan.package.manifest.name
        self._mark = self._quarantine.mark(plan.key, engine=self.name, model=model, hosted=self._hosted)
        try:
            self.inner.load(plan, folder=folder)
        except InferenceError as error:
            self._told(error)
            raise

    def keep_until_unloaded(self, held: ExitStack) -> None:
        """Close `held`, which says that its files are in use, when the engine is unloaded."""
        self._held = held

    def settled(self) -> None:
        """Say that it loaded and answered: from now on only a call that ends the process counts."""
        if self._mark is not None:
            self._mark.idle()

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once, with a mark while it runs.

        Raises:
            InferenceError: as the engine says; a crash of its process is counted.
        """
        if self._doubtful and self._recheck is not None:
            self._recheck()
            self._doubtful = False
        self._begin()
        try:
            return self.inner.infer(batch, deadline_seconds=deadline_seconds)
        except InferenceError as error:
            self._told(error)
            raise
        finally:
            self._end()

    def memory_bytes(self) -> int:
        """Ask the engine."""
        return self.inner.memory_bytes()

    def unload(self) -> None:
        """Give its memory back, take the mark away, and let go of its files."""
        self.inner.unload()
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.remove()
        self._held.close()

    def provenance(self) -> EngineProvenance:
        """Ask the engine."""
        return self.inner.provenance()

    def _begin(self) -> None:
        with self._lock:
            self._working += 1
            if self._working == 1 and self._mark is not None and not self._hosted:
                self._mark.at_work()

    def _end(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working == 0 and self._mark is not None and not self._hosted:
                self._mark.idle()

    def _told(self, error: InferenceError) -> None:
        # A process that ended, or was ended at a deadline, reads its files again when it is asked next.
        self._doubtful = self._doubtful or error.word in _ENDED
        if error.word == "inference.crashed":
            self._quarantine.crashed(self._plan.key, engine=self.name, model=self._plan.package.manifest.name)
