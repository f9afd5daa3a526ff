"""What every engine can do, whatever runs beneath it.

An engine holds one model's network at a time: probe, plan, build, load, infer, unload.
It never judges a result, and it never hides which library and device made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from models.package import Package

Tensors = Mapping[str, NDArray[Any]]
BuildProgress = Callable[[float, str], None]
"""Called with the share that is done, 0-1, and a short word for the stage."""


class InferenceError(Exception):
    """A network could not be loaded or run: a fixed word for the log and a sentence for people.

    Words: inference.load, inference.build, inference.failed, inference.deadline, inference.golden,
    inference.parity, inference.memory, inference.quarantined, inference.crashed, inference.busy,
    inference.closed, inference.cancelled, inference.reduce, inference.no_engine.
    """

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both; the text of the error is both."""
        super().__init__(f"{word}: {sentence}")
        self.word = word
        self.sentence = sentence

    def __reduce__(self) -> tuple[type[InferenceError], tuple[str, str]]:
        """Cross a process as word and sentence; what a kind of it knows besides stays behind."""
        return InferenceError, (self.word, self.sentence)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether an engine can run on this machine, and why not."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """What is to be built: the package, and a key that changes with all that could change the answer.

    Attributes:
        key: "sha256:" and the digest of `parts`, written as canonical JSON.
        parts: what the key is made of, by name: the package's digest, runtime, device, driver, shapes.
    """

    package: Package
    key: str
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What was really built, read back from it and not from what was asked.

    Attributes:
        files: names of the files made, relative to the folder; none for an engine that runs ONNX as it is.
        details: JSON values: types of inputs, outputs and layers, shapes, sizes, the builder's warnings.
    """

    files: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EngineProvenance:
    """Which engine made a result: one line for people, and the details that make it repeatable."""

    text: str
    details: Mapping[str, str]


def key_of(parts: Mapping[str, str]) -> str:
    """Give the key of a plan: the digest of its parts as canonical JSON."""
    canonical = json.dumps(dict(parts), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


class Engine(Protocol):
    """One model's network on one device."""

    @property
    def name(self) -> str:
        """Give the name configuration calls it by."""
        ...

    def probe(self) -> Probe:
        """Say whether this machine can run it; never raises."""
        ...

    def plan(self, package: Package) -> EnginePlan:
        """Name what is to be built for a package."""
        ...

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make what `load` needs, under `folder`; an engine that runs ONNX as it is makes nothing.

        It may be slow, take much memory and crash: whoever calls it does so in a child process.

        Raises:
            InferenceError: inference.build.
        """
        ...

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Make ready to answer: network in memory, first slow call done.

        `folder` is where `build` left its files, when it made any.

        Raises:
            InferenceError: inference.load.
        """
        ...

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once: named arrays in, named arrays out.

        Raises:
            InferenceError: inference.deadline or inference.failed; the engine stays loaded.
        """
        ...

    def memory_bytes(self) -> int:
        """Give the bytes it holds while it waits; 0 when nothing is loaded."""
        ...

    def unload(self) -> None:
        """Give its memory back."""
        ...

    def provenance(self) -> EngineProvenance:
        """Say exactly what would make the next answer."""
        ...
