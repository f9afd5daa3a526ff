"""The way from files to objects as `readside analyse` goes it, and the truth about each image beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.results.encode import encode
from appliance.worker.folder import instances_from_folder
from appliance.worker.run import Analysis, analyse_series
from models.findings import Findings
from models.package import Package
from tests.appliance.results.given import context, read
from tests.geometry.phantom import Labels, mark_at, pixel_places
from tests.geometry.reading import Image

OUTPUTS = frozenset({"sr", "seg", "seg-fractional", "seg-labelmap", "pmap", "gsps", "sc"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxed:
    """Hold what came out of the box for one series, and what should have."""

    analysis: Analysis
    objects: dict[str, list[Dataset]]
    truth: dict[Image, Labels]
    headers: dict[str, Dataset]

    def one(self, output: str) -> Dataset:
        """Give the only object of its kind."""
        (made,) = self.objects[output]
        return made


def analysed(package: Package, folder: Path) -> Analysis:
    """Analyse the one series of a folder."""
    found = instances_from_folder(folder)
    assert not found.unreadable
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(package))
    try:
        return analyse_series(package, engine, found.instances, found.reader, maps=True)
    finally:
        engine.unload()


def boxed(analysis: Analysis, headers: Sequence[Dataset], findings: Findings | None = None) -> Boxed:
    """Encode an analysis, or other findings on its volume, and decode every object."""
    study = str(headers[0].StudyInstanceUID)
    made = encode(
        replace(context(), study_uid=study),
        sources=analysis.sources,
        volume=analysis.volume,
        findings=findings or analysis.findings,
        outputs=OUTPUTS,
    )
    objects: dict[str, list[Dataset]] = {}
    for item in made:
        objects.setdefault(item.output, []).append(read(item))
    return Boxed(
        analysis=analysis,
        objects=objects,
        truth=truth(headers) if "FrameOfReferenceUID" in headers[0] else {},
        headers={str(header.SOPInstanceUID): header for header in headers},
    )


def truth(headers: Sequence[Dataset]) -> dict[Image, Labels]:
    """Ask the body about every pixel of every image."""
    images: dict[Image, Labels] = {}
    for header in headers:
        uid = str(header.SOPInstanceUID)
        for frame in range(1, header.NumberOfFrames + 1) if "NumberOfFrames" in header else [None]:
            images[uid, frame] = mark_at(pixel_places(header, frame))
    return images


def mark_of(probability: float) -> int:
    """Name the mark that a network gave this probability: each has a value of its own."""
    number = (probability * 1000 - 600) / 40
    assert abs(number - round(number)) < 0.05
    return int(np.round(number))
