"""Run a loaded engine in the shapes it will really see until its calls take as long as they will.

The first calls of a shape are slow everywhere: kernels are chosen, memory is taken, caches are filled.
Never: judges an answer; the golden cases did that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.core import log
from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import read_network, zeros
from appliance.inference.shapes import ranges_of
from models.package import Package

_log = log.get("inference")
_STEADY = 1.1  # a call that takes no longer than so many times the next one


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """How a model is called.

    Attributes:
        batches: inputs of zeros at the real shapes: one row, and as many as the manifest says.
        rows_max: rows that calls may be joined to; 1 where its network or its manifest takes no more.
    """

    batches: tuple[Tensors, ...]
    rows_max: int


def footprint_of(package: Package, limits: InferenceLimits) -> Footprint:
    """Read from manifest and graph how a model is called.

    Raises:
        InferenceError: inference.load, the network cannot be read.
    """
    network = read_network(package.onnx_path())
    shapes = {
        name: shape.usual for name, shape in ranges_of(network.inputs, package.manifest, limits).items()
    }
    ports = (*network.inputs, *network.outputs)
    rows = package.manifest.input.batch
    if rows == 1 or not all(port.shape and port.shape[0] is None for port in ports):
        return Footprint(batches=(zeros(network.inputs, shapes),), rows_max=1)
    batches = tuple(
        zeros(network.inputs, {name: (count, *shape[1:]) for name, shape in shapes.items()})
        for count in (1, rows)
    )
    return Footprint(batches=batches, rows_max=rows)


def warm(engine: Engine, footprint: Footprint, limits: InferenceLimits) -> None:
    """Run each batch until two calls take about the same time.

    A shape that the engine does not take is said and left: the site's series may have another.

    Raises:
        InferenceError: inference.crashed, inference.deadline or inference.memory: it would not serve either.
    """
    until = time.monotonic() + limits.warm_up_seconds
    for batch in footprint.batches:
        try:
            _steady(engine, batch, limits, until=until)
        except InferenceError as error:
            if error.word != "inference.failed":
                raise
            _log.warning("model.not_warm", engine=engine.name, reason=error.sentence)


def _steady(engine: Engine, batch: Tensors, limits: InferenceLimits, *, until: float) -> None:
    before = float("inf")
    for _ in range(limits.warm_up_calls_max):
        start = time.perf_counter()
        engine.infer(batch, deadline_seconds=limits.warm_up_call_seconds_max)
        took = time.perf_counter() - start
        if before <= took * _STEADY or time.monotonic() > until:
            return
        before = took
