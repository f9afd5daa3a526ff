"""A job's place at a loaded model: an engine whose calls go through the model's queue by the job's priority.

Never: loads or unloads. The pool does, when nobody sits there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from appliance.inference.batching import Caller
from appliance.inference.engine import (
    BuildProgress,
    BuildReport,
    Engine,
    EnginePlan,
    EngineProvenance,
    Probe,
    Tensors,
)
from models.package import Package


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One engine for one job; see `appliance.inference.engine.Engine`.

    Attributes:
        stepped_down: why no better engine runs, as of the moment the job sat down.
    """

    inner: Engine
    caller: Caller
    stepped_down: str | None

    @property
    def name(self) -> str:
        """Give the name configuration calls it by."""
        return self.inner.name

    def probe(self) -> Probe:
        """Say yes: it is loaded."""
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        """Ask the engine."""
        return self.inner.plan(package)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make nothing: it is loaded."""
        return BuildReport()

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Do nothing: it is loaded."""

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once, alone or beside the calls of others.

        Raises:
            InferenceError: as the engine says; inference.busy, too many calls wait.
        """
        return self.caller.infer(batch, deadline_seconds=deadline_seconds)

    def memory_bytes(self) -> int:
        """Ask the engine."""
        return self.inner.memory_bytes()

    def unload(self) -> None:
        """Do nothing: others may sit here too."""

    def provenance(self) -> EngineProvenance:
        """Ask the engine."""
        return self.inner.provenance()
