"""Engines that build files and fail in ways real ones do; a child process finds them by module and name.

Each runs the processor's network, a copy of which is what it builds: an answer is wrong only on purpose.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import (
    BuildProgress,
    BuildReport,
    EnginePlan,
    EngineProvenance,
    InferenceError,
    Probe,
    key_of,
)
from appliance.inference.makers import MAKERS, Maker, Makers
from appliance.inference.settings import EngineSettings
from models.package import Package

ROOT = Path(__file__).resolve().parents[3]


def made(kind: str, **what: Any) -> Maker:
    """The maker of one of the engines below."""
    return Maker(**{"reference": f"tests.appliance.inference.fakes:{kind}", "builds": True, **what})


def makers(kind: str, **what: Any) -> Makers:
    """The shipped makers, and one of the engines below as "built"."""
    return {**MAKERS, "built": made(kind, **what)}


class Built(OnnxRuntimeCpu):
    """Builds a copy of the network and runs that."""

    name = "built"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.limits)
        self.device = settings.device

    def plan(self, package: Package) -> EnginePlan:
        parts = {"package": package.digest, "engine": type(self).__name__, "driver": str(self.device)}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        print("what a library says on its standard output is nobody's answer", flush=True)
        if progress is not None:
            progress(0.5, "copying")
        network = plan.package.manifest.network
        shutil.copyfile(plan.package.onnx_path(), folder / network)
        return BuildReport(files=(network,), details={"bytes": (folder / network).stat().st_size})

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        assert folder is not None, "it was built"
        super().load(replace(plan, package=replace(plan.package, root=folder)))

    def provenance(self) -> EngineProvenance:
        return EngineProvenance(text=f"{type(self).__name__} 1.0", details={"engine": self.name})


class Hanging(Built):
    """Never ends, and neither does the process it started."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        assert progress is not None
        progress(0.1, f"pids {os.getpid()} {started.pid}")
        time.sleep(600)
        return BuildReport()


class Segfaulting(Built):
    """Ends its process as a bad pointer does."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        os.kill(os.getpid(), signal.SIGSEGV)
        return BuildReport()


class Hungry(Built):
    """Takes memory and does not stop, but slowly enough for this machine."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        taken: list[Any] = []
        while len(taken) < 64:
            taken.append(np.ones(2**22))  # 32 MiB, every page touched
            time.sleep(0.02)
        time.sleep(600)
        return BuildReport()


class Writing(Built):
    """Fills the disk."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        (folder / "large").write_bytes(bytes(2**22))
        time.sleep(600)
        return BuildReport()


class Refusing(Built):
    """Says why it cannot."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        raise InferenceError("inference.build", "Operator Foo is not known.")


class Faulty(Built):
    """Meets an error that nobody foresaw, with a path in its text."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        raise KeyError(str(folder))


class Leaving(Built):
    """Leaves a file it does not report."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        (folder / "other").write_text("left")
        return super().build(plan, folder=folder, progress=progress)


class Linking(Built):
    """Leaves a link in place of a file."""

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        (folder / "engine").symlink_to(plan.package.onnx_path())
        return BuildReport(files=("engine",))


class Unsteady(Built):
    """Sees another device each time it looks."""

    def plan(self, package: Package) -> EnginePlan:
        return EnginePlan(package=package, key=key_of({"at": str(time.monotonic_ns())}), parts={})


class Wrong(Built):
    """Answers a little wrong: one voxel in forty is labelled with the next label."""

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        answers = super().infer(batch, deadline_seconds=deadline_seconds)
        labels = answers["labels"].copy()
        labels.reshape(-1)[::40] = 0
        return {"labels": labels}


class NotANumber(Built):
    """Answers with NaN."""

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        answers = super().infer(batch, deadline_seconds=deadline_seconds)
        return {name: np.full(answer.shape, np.nan, np.float32) for name, answer in answers.items()}


class Unloadable(Built):
    """Builds, and finds at loading that there is no device."""

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        raise InferenceError("inference.load", "The device refused the engine.")


class CrashingAtLoad(Built):
    """Takes its process down when it is loaded."""

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class CrashingAtWork(Built):
    """Comes through its golden cases and takes its process down at a study."""

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        if deadline_seconds == 1.0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().infer(batch, deadline_seconds=deadline_seconds)


class GoneWhileAsked(Built):
    """Takes the process down that asks for its device."""

    def probe(self) -> Probe:
        os.kill(os.getpid(), signal.SIGSEGV)
        return Probe(ok=True)


class DeadChild(Built):
    """Lives in a process of its own, which died."""

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        raise InferenceError("inference.crashed", "The engine's process ended by itself (SIGSEGV).")
