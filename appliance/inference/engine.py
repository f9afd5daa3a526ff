"""What every engine can do, whatever runs beneath it.

An engine holds one model's network at a time: probe, plan, build, load, infer, unload.
It never judges a result, and it never hides which library and device made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from models.package import Package

Tensors = Mapping[str, NDArray[Any]]


class InferenceError(Exception):
    """A network could not be loaded or run: a fixed word for the log and a sentence for people.

    Words: inference.load, inference.failed, inference.deadline, inference.golden, inference.no_engine.
    """

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both; the text of the error is both."""
        super().__init__(f"{word}: {sentence}")
        self.word = word
        self.sentence = sentence


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether an engine can run on this machine, and why not."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """What is to be built: the package, and a key that changes with all that could change the answer."""

    package: Package
    key: str


@dataclass(frozen=True, kw_only=True)
class EngineProvenance:
    """Which engine made a result: one line for people, and the details that make it repeatable."""

    text: str
    details: Mapping[str, str]


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

    def build(self, plan: EnginePlan, *, folder: Path) -> None:
        """Make what `load` needs, under `folder`; an engine that runs ONNX as it is makes nothing.

        Raises:
            InferenceError: inference.load.
        """
        ...

    def load(self, plan: EnginePlan) -> None:
        """Make ready to answer: network in memory, first slow call done.

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
