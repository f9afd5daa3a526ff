"""Measure what encoding costs: every object of one result, beside the raw inference that it came from.

One process and the same images: the engine's own seconds and the encoder's are wall time of one run. Before
it a made-up result is written, as each worker does before it is ready; what that takes is told beside.
Never: measures reading, sending or the disk; `appliance.demo.bench` does.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.assemble.gather import digest_of
from appliance.core.outputs import OUTPUTS
from appliance.inference.choose import open_engine
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.encode import encode
from appliance.worker.folder import instances_from_folder
from appliance.worker.provenance import Maker, provenance_for
from appliance.worker.rehearsal import rehearse
from appliance.worker.run import Analysis, analyse_series
from models.catalogue import find
from models.package import Package, open_package

MODEL = "ct-phantom-lesion"
# What a destination gets that chose nothing.
ORDINARY = frozenset({"sr", "seg", "sc", "text-sr"})
# Of a set; each output alone is encoded once, for it only tells where the time of the sets goes.
_RUNS = 3
_NO_BOX = "2.25.0"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one set of outputs took: median seconds of the runs, the outputs made, their bytes together.

    On a machine that does other work too, seconds of the processor tell more than those of the clock.
    """

    name: str
    seconds: float
    cpu_seconds: float
    objects: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What encoding one result took, output by output, and what the network itself took for it.

    Attributes:
        rehearsal_seconds: what a worker's first encoding, of a made-up result, takes before any study.
    """

    name: str
    slices: int
    lesions: int
    inference_seconds: float
    rehearsal_seconds: float
    rows: tuple[Row, ...]


def measure_encoding(folder: Path, name: str) -> Encoding:
    """Analyse the one series of a folder, then encode its result: each output alone, the ordinary, all."""
    place = find(MODEL)
    assert place is not None, f"{MODEL} ships with the product"
    package = open_package(place)
    started = time.perf_counter()
    rehearse(OUTPUTS)
    rehearsal_seconds = time.perf_counter() - started
    context, analysis = _analysed(package, folder)
    return Encoding(
        name=name,
        slices=len(analysis.volume.voxels),
        lesions=len(analysis.findings.lesions),
        inference_seconds=analysis.seconds["inference"],
        rehearsal_seconds=rehearsal_seconds,
        rows=tuple(
            _row(title, context, analysis, outputs=outputs, runs=runs) for title, outputs, runs in _sets()
        ),
    )


def _sets() -> Iterator[tuple[str, frozenset[str], int]]:
    for output in OUTPUTS:
        yield output, frozenset({output}), 1
    yield "all ordinary outputs", ORDINARY, _RUNS
    yield "all outputs", frozenset(OUTPUTS), _RUNS


def _analysed(package: Package, folder: Path) -> tuple[ResultContext, Analysis]:
    found = instances_from_folder(folder)
    engine, stepped_down = open_engine(package, ["cpu"])
    try:
        analysis = analyse_series(package, engine, found.instances, found.reader, maps=True)
        text = engine.provenance().text
    finally:
        engine.unload()
    maker = Maker(engine=text, stepped_down=stepped_down, device_uid=_NO_BOX, site_name="Bench")
    study_uid, digest = found.instances[0].study_uid, digest_of(found.instances)
    return _context(package, maker, study_uid=study_uid, digest=digest), analysis


def _context(package: Package, maker: Maker, *, study_uid: str, digest: str) -> ResultContext:
    """Make the context of a result that replaces another, so that a rejection note has something to name."""
    before = Reference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.10",
        series_uid="2.25.11",
        study_uid=study_uid,
    )
    return ResultContext(
        provenance=provenance_for(package, maker),
        route="bench",
        study_uid=study_uid,
        content_digest=digest,
        run=2,
        at=datetime.now(UTC),
        supersedes=(before,),
    )


def _row(
    title: str, context: ResultContext, analysis: Analysis, *, outputs: frozenset[str], runs: int
) -> Row:
    timed = [_timed(context, analysis, outputs) for _ in range(runs)]
    made = timed[0].made
    return Row(
        name=title,
        seconds=statistics.median(one.seconds for one in timed),
        cpu_seconds=statistics.median(one.cpu_seconds for one in timed),
        objects=tuple(item.output for item in made),
        bytes=sum(len(item.data) for item in made),
    )


@dataclass(frozen=True, kw_only=True)
class _Timed:
    seconds: float
    cpu_seconds: float
    made: list[EncodedObject]


def _timed(context: ResultContext, analysis: Analysis, outputs: frozenset[str]) -> _Timed:
    # Headers are decoded as they are read: each run gets them as they came from the files.
    sources = deepcopy(analysis.sources)
    started, cpu_started = time.perf_counter(), time.process_time()
    made = encode(
        context, sources=sources, volume=analysis.volume, findings=analysis.findings, outputs=outputs
    )
    return _Timed(
        seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu_started, made=made
    )


def table(measured: Encoding) -> str:
    """Return the figures as Markdown."""
    raw = measured.inference_seconds
    lines = [
        f"Objects of {measured.name}, {measured.lesions} lesions; raw inference of {MODEL}: {raw:.2f} s; "
        f"the made-up result before it: {measured.rehearsal_seconds:.2f} s.",
        "",
        "| outputs | objects | kB | seconds | of the processor | share of raw inference |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured.rows:
        made = ", ".join(f"{count} {output}" for output, count in Counter(row.objects).items())
        lines.append(
            f"| {row.name} | {made} | {row.bytes / 1000:.0f} | {row.seconds:.3f} | {row.cpu_seconds:.3f} "
            f"| {row.seconds / raw:.1%} |"
        )
    return "\n".join(lines)
