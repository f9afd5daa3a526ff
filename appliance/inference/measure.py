"""How fast engines answer, side by side: the bare network by batch size, and the network inside its model.

Promises: engines take turns call by call, so that a busy moment of the machine falls on all of them; medians,
not means; every measurement has a bound on calls and seconds.
Never: judges; an engine that is fast and wrong is the gate's business.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.inference.engine import InferenceError, Tensors
from models.analysis import analyse
from models.package import Package
from models.tensors import Volume


class Answering(Protocol):
    """What of an engine is measured."""

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> Mapping[str, NDArray[Any]]:
        """Run the network once."""
        ...


@dataclass(frozen=True, kw_only=True)
class MeasureLimits:
    """Bounds of one measurement.

    Attributes:
        seconds_max: all engines' calls at one batch size together.
        calls_min, calls_max: of one engine at one batch size.
        deadline_seconds: of one call.
    """

    seconds_max: float = 10.0
    calls_min: int = 3
    calls_max: int = 200
    deadline_seconds: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast one engine answered calls of one batch size; `fault` says why it did not."""

    engine: str
    batch: int
    calls: int = 0
    median_ms: float = 0.0
    p95_ms: float = 0.0
    items_per_second: float = 0.0
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What share of a whole analysis one engine's network took: `raw_ms` of `whole_ms`, medians."""

    engine: str
    calls: int
    raw_ms: float
    whole_ms: float
    efficiency: float


def batched(single: Tensors, batch: int) -> Tensors:
    """Repeat the first item of an input along axis 0."""
    return {name: np.repeat(array[:1], batch, axis=0) for name, array in single.items()}


def speeds(
    engines: Mapping[str, Answering], feed: Tensors, *, batch: int, limits: MeasureLimits
) -> list[Speed]:
    """Time every engine on the same input, in turns; the first call of each is not counted."""
    calls = batched(feed, batch)
    taken: dict[str, list[float]] = {name: [] for name in engines}
    faults: dict[str, str] = {}
    until = time.perf_counter() + limits.seconds_max
    for turn in range(limits.calls_max + 1):
        if time.perf_counter() > until and turn > limits.calls_min:
            break
        for name, engine in engines.items():
            if name in faults:
                continue
            began = time.perf_counter()
            try:
                engine.infer(calls, deadline_seconds=limits.deadline_seconds)
            except InferenceError as error:
                faults[name] = error.sentence
                continue
            if turn:
                taken[name].append(time.perf_counter() - began)
    return [_speed(name, batch, taken[name], faults.get(name)) for name in engines]


def pipelines(
    package: Package, engines: Mapping[str, Answering], volume: Volume, *, limits: MeasureLimits
) -> list[Pipeline]:
    """Time whole analyses of one series in turns, and how much of each the engine took."""
    raw: dict[str, list[float]] = {name: [] for name in engines}
    whole: dict[str, list[float]] = {name: [] for name in engines}
    until = time.perf_counter() + limits.seconds_max
    for turn in range(limits.calls_max + 1):
        if time.perf_counter() > until and turn > limits.calls_min:
            break
        for name, engine in engines.items():
            inside, around = _analysed(package, engine, volume, limits)
            if turn:
                raw[name].append(inside)
                whole[name].append(around)
    return [_pipeline(name, raw[name], whole[name]) for name in engines]


def _analysed(
    package: Package, engine: Answering, volume: Volume, limits: MeasureLimits
) -> tuple[float, float]:
    inside = 0.0

    def infer(batch: Tensors) -> Tensors:
        nonlocal inside
        began = time.perf_counter()
        answer = engine.infer(batch, deadline_seconds=limits.deadline_seconds)
        inside += time.perf_counter() - began
        return answer

    began = time.perf_counter()
    analyse(package, volume, infer)
    return inside, time.perf_counter() - began


def _speed(engine: str, batch: int, seconds: list[float], fault: str | None) -> Speed:
    if not seconds or fault is not None:
        return Speed(engine=engine, batch=batch, fault=fault or "no call was counted")
    median = statistics.median(seconds)
    return Speed(
        engine=engine,
        batch=batch,
        calls=len(seconds),
        median_ms=1000 * median,
        p95_ms=1000 * float(np.percentile(seconds, 95)),
        items_per_second=batch / median,
    )


def _pipeline(engine: str, raw: list[float], whole: list[float]) -> Pipeline:
    shares = [inside / around for inside, around in zip(raw, whole, strict=True)]
    return Pipeline(
        engine=engine,
        calls=len(whole),
        raw_ms=1000 * statistics.median(raw),
        whole_ms=1000 * statistics.median(whole),
        efficiency=statistics.median(shares),
    )
