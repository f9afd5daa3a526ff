"""An engine without a network that tests can make misbehave; a serving child imports it by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from appliance.inference.engine import (
    BuildReport,
    EnginePlan,
    EngineProvenance,
    InferenceError,
    Probe,
    key_of,
)
from appliance.inference.settings import EngineSettings
from models.package import Package

DIE, HANG, FAIL, WIDE, BURST, PRINT, GREEDY, LOST = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0
HELD_BYTES = 1 << 20


class Echo:
    """Answers with twice its input; the first number of a call may say to do something else."""

    name = "echo"

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.loads = 0
        self.lost = False

    def probe(self) -> Probe:
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        parts = {"package": package.digest}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: Any = None) -> BuildReport:
        (folder / "engine").write_text(plan.key)
        if progress is not None:
            progress(0.5, "halfway")
        return BuildReport(files=("engine",), details={"layers": 3})

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        self.loads += 1

    def infer(self, batch: Any, *, deadline_seconds: float) -> dict[str, Any]:
        image = batch["image"]
        first = float(image.flat[0]) if image.size else 0.0
        self.lost = self.lost or first == LOST
        if self.lost:
            raise InferenceError("inference.failed", "The device is lost.")
        if first == DIE:
            os.kill(os.getpid(), signal.SIGSEGV)
        if first == HANG:
            time.sleep(600)
        if first == FAIL:
            raise InferenceError("inference.failed", "It cannot, see /opt/vendor/licence.txt for why.")
        if first == WIDE:
            return {"labels": np.repeat(image, 4096, axis=-1)}
        if first == BURST:
            raise ZeroDivisionError("patient P1")
        if first == GREEDY:
            raise MemoryError
        if first == PRINT:
            sys.stderr.write("reading /srv/models/net.onnx\n" * 100)
            sys.stderr.flush()
        return {"labels": 2 * image, "loads": np.full((1,), self.loads)}

    def memory_bytes(self) -> int:
        return HELD_BYTES

    def unload(self) -> None:
        pass

    def provenance(self) -> EngineProvenance:
        return EngineProvenance(text="Echo 1", details={"pid": str(os.getpid())})


class Absent(Echo):
    """An engine whose library is not installed."""

    def __init__(self, settings: EngineSettings) -> None:
        raise InferenceError("inference.no_engine", "is not installed here.")


class SaysNonsense(Echo):
    """An engine whose report of a build is no data."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: Any = None) -> BuildReport:
        return BuildReport(details={"layers": object()})


class DiesAtProbe(Echo):
    """An engine whose library takes the process down when it is looked at."""

    def probe(self) -> Probe:
        os.kill(os.getpid(), signal.SIGABRT)
        return Probe(ok=True)


class DiesAtLoad(Echo):
    """An engine whose library takes the process down when a network is read."""

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)
