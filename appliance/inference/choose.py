"""Open the best engine that can serve a model here, and say which better ones were passed over, and why.

Stepping down is allowed and never silent: the sentence goes into the result itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from models.package import Package

Makers = Mapping[str, Callable[[InferenceLimits], Engine]]

MAKERS: Makers = {"cpu": OnnxRuntimeCpu}
NOT_IN_THIS_VERSION = frozenset({"tensorrt", "cuda", "openvino", "kserve"})


def open_engine(
    package: Package,
    wanted: Sequence[str],
    *,
    limits: InferenceLimits | None = None,
    gate: GoldenGate | None = None,
    makers: Makers = MAKERS,
) -> tuple[Engine, str | None]:
    """Load the first wanted engine that agrees with the model's golden cases.

    Returns it, and a sentence on the engines that were passed over; None when the first one serves.
    A `gate` that lives longer than the call remembers its verdicts.

    Raises:
        InferenceError: inference.no_engine, none of the wanted engines can serve; every reason is given.
    """
    limits = limits or InferenceLimits()
    gate = gate or GoldenGate(limits=limits)
    passed_over: list[str] = []
    for name in wanted:
        try:
            engine = _serving(name, package, limits, gate, makers)
        except InferenceError as error:
            passed_over.append(f"{name}: {error.sentence}")
            continue
        return engine, _stepped_down(engine, passed_over)
    reasons = " ".join(passed_over) or "No engine is configured."
    raise InferenceError("inference.no_engine", f"No engine can run the model here. {reasons}")


def _serving(
    name: str, package: Package, limits: InferenceLimits, gate: GoldenGate, makers: Makers
) -> Engine:
    if name not in makers:
        known = name in NOT_IN_THIS_VERSION
        what = "is not part of this version." if known else "is not an engine this version knows."
        raise InferenceError("inference.no_engine", what)
    engine = makers[name](limits)
    probe = engine.probe()
    if not probe.ok:
        raise InferenceError("inference.no_engine", f"{probe.reason}.")
    plan = engine.plan(package)
    try:
        with tempfile.TemporaryDirectory(prefix="readside-build-") as folder:
            engine.build(plan, folder=Path(folder))
            engine.load(plan)
        gate.admit(package, engine)
    except InferenceError:
        engine.unload()
        raise
    return engine


def _stepped_down(engine: Engine, passed_over: Sequence[str]) -> str | None:
    if not passed_over:
        return None
    return f"{engine.provenance().text} was used. Passed over: {' '.join(passed_over)}"
