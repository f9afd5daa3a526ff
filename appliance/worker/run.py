"""Analyse one series with one model: volume, inference, findings, and what they rest on.

The service and `readside analyse` both come through here; there is no second way to a result.
Nothing is written: what comes back is values, and what fails says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset

from appliance.core.instance import Instance
from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.worker.decode import Decoder
from appliance.worker.early import Heard, Origins
from appliance.worker.evidence import Evidence, evidence_of
from appliance.worker.faults import AnalysisFailed, DecodeError, NotEligible
from appliance.worker.frames import Decoding
from appliance.worker.limits import WorkerLimits
from appliance.worker.reading import Reader, read_header
from appliance.worker.series import Series, obstacles, read_series
from appliance.worker.space import Empty, own_memory
from appliance.worker.volume import build_volume, origins_of, units_of
from models.analysis import AnswerError, NotAccepted, analyse, check_geometry
from models.findings import Findings
from models.package import Package
from models.tensors import Volume

__all__ = [
    "Analysis",
    "AnalysisFailed",
    "DecodeError",
    "NotEligible",
    "Progress",
    "Reader",
    "WorkerLimits",
    "analyse_series",
    "read_header",
]

# Called with (stage, done, total); the stages that count something are decode and inference.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What one model found in one series, and everything needed to say so in DICOM.

    Attributes:
        findings: the model's answer.
        volume: what it saw.
        sources: headers without pixels in slice order; one for a multi-frame object.
        evidence: exactly which instances were used.
        seconds: wall time by stage: volume (headers read and ordered), decode (pixels into their places),
            inference (inside the engine only, ahead of the analysis too), interpret (everything else the
            model does).
        ahead: how many batches of slices the engine had answered before.
    """

    findings: Findings
    volume: Volume
    sources: tuple[Dataset, ...]
    evidence: Evidence
    seconds: Mapping[str, float]
    ahead: int = 0


def analyse_series(
    package: Package,
    engine: Engine,
    instances: Sequence[Instance],
    reader: Reader,
    *,
    limits: WorkerLimits | None = None,
    decoder: Decoding | None = None,
    progress: Progress | None = None,
    maps: bool = False,
    empty: Empty = own_memory,
    heard: Callable[[Origins], Heard | None] | None = None,
) -> Analysis:
    """Run a model over a series on an engine that `open_engine` gave.

    A `decoder` that lives longer than the call keeps its child processes for the next series. With `maps` the
    heat maps that the package gives are made too. `empty` gives the memory of the volume; `heard` what this
    very engine answered already to a batch of slices of some origins.

    Raises:
        NotEligible: the series is not one the model reads; every reason is given.
        AnalysisFailed: it was tried and failed; `word` and `sentence` say how.
        OSError, MemoryError: stored bytes could not be read, or there is no room for them; it may pass.
    """
    limits = limits or WorkerLimits()
    clock = _Stages()
    try:
        with clock.stage("volume"):
            series = read_series(instances, reader, limits)
            refuse(package, series)
        with clock.stage("decode"):
            volume = _decoded(series, reader, limits, decoder, progress, empty)
        timed = _TimedEngine(engine=engine, seconds_max=limits.inference_seconds_max)
        known = _Known.of(series, heard, package.manifest.input.batch)
        with clock.stage("interpret"):
            told = _staged(progress, "inference")
            findings = analyse(package, volume, timed.infer, progress=told, maps=maps, known=known.answers)
    except NotAccepted as error:
        raise NotEligible(error.reasons) from error
    except AnswerError as error:
        raise AnalysisFailed("inference.answer", f"The model gave no usable answer: {error}.") from error
    except InferenceError as error:
        raise AnalysisFailed(error.word, error.sentence) from error
    return Analysis(
        findings=findings,
        volume=volume,
        sources=series.sources,
        evidence=evidence_of(instances),
        seconds=clock.seconds(inference=timed.seconds, ahead=known.seconds),
        ahead=known.batches,
    )


def refuse(package: Package, series: Series) -> None:
    """Hold a series' geometry and units against the model's limits before any pixel is read.

    Raises:
        NotEligible: with every reason.
    """
    wanted, units = package.manifest.input.units, units_of(series.headers[0])
    reasons = obstacles(series) or check_geometry(package.manifest, series.facts)
    if units != wanted:
        reasons.append(
            f"The values are in {units or 'no known unit'}; the model needs {wanted or 'no unit'}."
        )
    if reasons:
        raise NotEligible(reasons)


def _decoded(
    series: Series,
    reader: Reader,
    limits: WorkerLimits,
    decoder: Decoding | None,
    progress: Progress | None,
    empty: Empty,
) -> Volume:
    told = _staged(progress, "decode")
    if decoder is not None:
        return build_volume(series, reader, decoder, limits=limits, progress=told, empty=empty)
    with Decoder(limits.decode) as own:
        return build_volume(series, reader, own, limits=limits, progress=told, empty=empty)


def _staged(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


@dataclass(kw_only=True)
class _TimedEngine:
    """Counts the seconds spent inside an engine, and bounds those of all its calls together."""

    engine: Engine
    seconds_max: float
    seconds: float = 0.0

    def infer(self, batch: Tensors) -> dict[str, NDArray[Any]]:
        start = time.perf_counter()
        try:
            return self.engine.infer(batch, deadline_seconds=self.seconds_max - self.seconds)
        finally:
            self.seconds += time.perf_counter() - start


@dataclass(kw_only=True)
class _Known:
    """Finds what was answered before to the batches of a series; counts them, and their seconds."""

    origins: Origins
    heard: Callable[[Origins], Heard | None]
    batch: int
    batches: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, series: Series, heard: Callable[[Origins], Heard | None] | None, batch: int) -> _Known:
        """Look where there may be something."""
        if heard is None:
            return cls(origins=(), heard=lambda _origins: None, batch=batch)
        return cls(origins=origins_of(series), heard=heard, batch=batch)

    def answers(self, first: int) -> Tensors | None:
        """Give the answers to the batch that begins at a slice, where they are known."""
        found = self.heard(self.origins[first : first + self.batch])
        if found is None:
            return None
        self.batches += 1
        self.seconds += found.seconds
        return found.answers


@dataclass(frozen=True, kw_only=True)
class _Stages:
    """A stop watch with a name for each stretch."""

    taken: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.taken[name] = time.perf_counter() - start

    def seconds(self, *, inference: float, ahead: float) -> dict[str, float]:
        """Give the stages, with the engine's own seconds taken out of the interpreting around it.

        Those that it spent `ahead` are not among that.
        """
        interpret = self.taken["interpret"] - inference
        return {**self.taken, "inference": inference + ahead, "interpret": interpret}
