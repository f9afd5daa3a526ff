"""Try every engine on this machine with the models that ship: probe, build, load, judge, measure.

This is what an owner runs to learn which engines are good on his hardware. Everything is built anew in a
folder of its own, each engine lives in a process of its own, and nothing of it serves afterwards.
Promises: each engine and model ends as verified, not here or failed, with the reason.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from appliance.inference.build import build_into
from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.inference.gate import GoldenGate, Refused
from appliance.inference.makers import MAKERS, Makers, craft_of
from appliance.inference.process import hosted
from appliance.inference.reference import Reference
from appliance.inference.settings import EngineSettings
from models.golden import check
from models.package import Package

T = TypeVar("T")
_CALLS_MIN = 3


class State(StrEnum):
    """How the trial of an engine with a model ended."""

    VERIFIED = "verified"
    NOT_HERE = "not here"
    FAILED = "failed"


@dataclass(kw_only=True)
class Trial:
    """One engine with one model.

    Attributes:
        text: the engine with its library, version and device.
        reason: why it is not verified.
        seconds: of each stage that came through: probe, build, load, golden.
        call_seconds: one call of the network, the median of several.
        batch: the shape of what that call was asked.
        memory_bytes: what the loaded engine says it holds.
        built: what the builder read back from what it built.
        verdict: how the golden cases came out.
    """

    engine: str
    model: str
    state: State = State.FAILED
    text: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    call_seconds: float | None = None
    batch: tuple[int, ...] = ()
    memory_bytes: int = 0
    built: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)


def trials(
    packages: Sequence[Package],
    names: Sequence[str],
    settings: EngineSettings,
    *,
    makers: Makers = MAKERS,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Trial]:
    """Try each engine with each model; an engine that is not here is tried once."""
    settings = replace(settings, store=None)
    for name in names:
        for package in packages:
            if progress is not None:
                progress(f"{name}: {package.manifest.name}")
            trial = Trial(engine=name, model=package.manifest.name)
            _try(trial, package, settings, makers)
            yield trial
            if trial.state is State.NOT_HERE:
                break


def _try(trial: Trial, package: Package, settings: EngineSettings, makers: Makers) -> None:
    try:
        engine = hosted(makers)[trial.engine](settings)
    except InferenceError as error:
        trial.state, trial.reason = State.NOT_HERE, error.sentence
        return
    try:
        with tempfile.TemporaryDirectory(prefix="readside-selftest-") as folder:
            _stages(trial, engine, package, settings, makers, Path(folder))
    except InferenceError as error:
        trial.reason = error.sentence
        if isinstance(error, Refused):
            trial.verdict = error.verdict.as_json()
    finally:
        engine.unload()


def _stages(
    trial: Trial, engine: Engine, package: Package, settings: EngineSettings, makers: Makers, folder: Path
) -> None:
    probe = _timed(trial, "probe", engine.probe)
    if not probe.ok:
        trial.state, trial.reason = State.NOT_HERE, f"{probe.reason}."
        return
    plan = engine.plan(package)
    craft = craft_of(trial.engine, makers)
    if craft is not None and craft.builds:
        build = partial(build_into, trial.engine, craft, plan, settings=settings, folder=folder)
        trial.built = dict(_timed(trial, "build", build).details)
    _timed(trial, "load", lambda: engine.load(plan, folder=folder if "build" in trial.seconds else None))
    trial.text = engine.provenance().text
    reference = None
    if trial.engine != "cpu":
        reference = Reference(package, lambda: makers["cpu"](settings), limits=settings.limits)
    verdict = _timed(
        trial,
        "golden",
        lambda: GoldenGate(limits=settings.limits).admit(package, engine, key=plan.key, reference=reference),
    )
    trial.verdict = verdict.as_json()
    _measure(trial, engine, _largest(package, engine, settings), settings)
    trial.state = State.VERIFIED


def _measure(trial: Trial, engine: Engine, batch: Tensors, settings: EngineSettings) -> None:
    """Ask the same again and again; the first call of this shape was made before."""
    limits = settings.limits
    taken: list[float] = []
    until = time.monotonic() + limits.selftest_seconds
    while len(taken) < _CALLS_MIN or time.monotonic() < until:
        began = time.monotonic()
        engine.infer(batch, deadline_seconds=limits.golden_seconds_max)
        taken.append(time.monotonic() - began)
    trial.call_seconds = sorted(taken)[len(taken) // 2]
    trial.batch = next((tuple(array.shape) for array in batch.values()), ())
    trial.memory_bytes = engine.memory_bytes()


def _largest(package: Package, engine: Engine, settings: EngineSettings) -> Tensors:
    """Find the largest batch that the golden cases ask."""
    batches: list[Tensors] = [{}]

    def infer(batch: Tensors) -> Tensors:
        batches.append(batch)
        batches.sort(key=lambda one: sum(array.size for array in one.values()))
        del batches[:-1]
        return engine.infer(batch, deadline_seconds=settings.limits.golden_seconds_max)

    check(package, infer)
    return batches[-1]


def _timed(trial: Trial, stage: str, do: Callable[[], T]) -> T:
    began = time.monotonic()
    done = do()
    trial.seconds[stage] = round(time.monotonic() - began, 3)
    return done
