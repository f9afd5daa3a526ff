"""Builds with the real TensorRT-RTX in a child process: a builder that crashes fails one test, not all.

The child is started once and asked for one build after another; it holds no device and needs none.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.inference.engine import BuildReport, InferenceError
from appliance.inference.shapes import ShapeRange
from appliance.inference.tensorrt import TensorRt
from appliance.inference.tensorrt.building import Building, BuildOptions
from appliance.inference.tensorrt.library import MODULES, find
from appliance.inference.tensorrt.reporting import details_of, layers_of_definition
from models.package import open_package

RTX = MODULES[2:]
SECONDS_MAX = 100


class Builder:
    """Asks the child."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def build(
        self, network: bytes, ranges: Mapping[str, ShapeRange], options: BuildOptions | None = None
    ) -> dict[str, Any]:
        """Build, and give the plan, the report's details and the progress that was shown.

        Raises:
            InferenceError: what the adapter raised in the child.
        """
        asked = self._pool.submit(_build, network, dict(ranges), options or BuildOptions())
        answer: dict[str, Any] = asked.result(timeout=SECONDS_MAX)
        if "word" in answer:
            raise InferenceError(answer["word"], answer["sentence"])
        return answer


def builder() -> Iterator[Builder]:
    """Start the child; for a fixture of a whole module."""
    with _child() as pool:
        yield Builder(pool)


def build_package(path: Path, folder: Path) -> tuple[BuildReport, list[float]]:
    """Let the engine build a package into a folder, in a child; gives its report and the shares shown."""
    with _child() as pool:
        return pool.submit(_build_package, path, folder).result(timeout=SECONDS_MAX)


def installed() -> bool:
    """Say whether TensorRT-RTX is there; it is not loaded."""
    return any(importlib.util.find_spec(module) for module in RTX)


def _child() -> ProcessPoolExecutor:
    if not installed():
        pytest.skip("TensorRT-RTX is not installed")
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _build_package(path: Path, folder: Path) -> tuple[BuildReport, list[float]]:
    shown: list[float] = []
    engine = TensorRt(modules=RTX)
    report = engine.build(
        engine.plan(open_package(path)), folder=folder, progress=lambda share, _: shown.append(share)
    )
    return report, shown


def _build(network: bytes, ranges: dict[str, ShapeRange], options: BuildOptions) -> dict[str, Any]:
    shown: list[tuple[float, str]] = []
    library = find(RTX, seconds_max=60).open()
    try:
        built = Building(library).build(
            network, ranges, options, progress=lambda share, word: shown.append((share, word))
        )
    except InferenceError as error:
        return {"word": error.word, "sentence": error.sentence}
    details = details_of(built, ranges, options, layers_of_definition(built.definition))
    return {"plan": built.plan, "details": details, "shown": shown}
