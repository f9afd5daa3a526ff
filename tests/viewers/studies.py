"""Made-up studies with results in them, made by the worker's own code as `readside analyse` does.

What no model says of a made-up head (an abstention, a failure, a model that never ran) is encoded from
values. A result's file is named after its kind of output, so that a test knows what it looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from appliance.core.outputs import OUTPUTS
from appliance.demo.study import MadeStudy
from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.results.context import EncodedObject, Notice, Reference, ResultContext
from appliance.results.encode import encode, encode_notice
from appliance.results.parametric import FROM_MAPS
from appliance.worker.folder import instances_from_folder
from appliance.worker.run import Analysis, NotEligible, analyse_series
from dicom_node.send import Outgoing
from models import phantom
from models.catalogue import shipped
from models.findings import Findings, Outcome
from models.package import Package, open_package
from tests.appliance.results import given
from tests.system.images import decoded, outgoing, part10

LESION, BANDS = "ct-phantom-lesion", "ct-tissue-bands"
EVERY = frozenset(OUTPUTS)
# What a destination gets that chose nothing.
ORDINARY = frozenset({"sr", "seg", "sc", "text-sr"})
_SEED = 7
_SHAPE = (24, 128, 128)
_SPACING_MM = (4.0, 1.8, 1.8)
# The lesion model takes slices that are 6 mm apart at most.
_WIDE_MM = (9.0, 1.8, 1.8)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Images and results in a folder, each result in a folder of its own."""

    folder: Path
    study_uid: str


@dataclass(frozen=True, kw_only=True)
class Example(Study):
    """A made-up head, and the truth about it: bool (z, y, x), True inside a lesion."""

    study: MadeStudy
    truth: npt.NDArray[np.bool_]

    def column_row_slice(self, point_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give pixel indices (column, row, slice) of points in mm, LPS; whole numbers are pixel centres."""
        z, y, x = self.study.spacing_mm
        _, rows, columns = self.study.hu.shape
        corner = np.array([-x * (columns - 1) / 2, -y * (rows - 1) / 2, 0.0])
        return np.asarray((np.asarray(point_mm, dtype=np.float64) - corner) / np.array([x, y, z]))


def make(
    folder: Path,
    *,
    number: int,
    lesions: int,
    models: Iterable[str] = (),
    outputs: frozenset[str] = ORDINARY,
    wide: bool = False,
) -> Example:
    """Make up a study and let models analyse it; everything lies in one folder at the end."""
    spacing_mm = _WIDE_MM if wide else _SPACING_MM
    hu, truth = phantom.volume(_SEED, shape=_SHAPE, spacing_mm=spacing_mm, lesions=lesions)
    study = MadeStudy(hu=hu, spacing_mm=spacing_mm, number=number)
    store(folder, study.instances())
    made = Example(folder=folder, study_uid=study.study_uid, study=study, truth=truth.astype(np.bool_))
    for model in models:
        analyse(made, model, outputs=outputs)
    return made


def store(folder: Path, images: Iterable[Outgoing]) -> None:
    """Write a study's images where `analyse` finds them."""
    target = folder / "images"
    target.mkdir(parents=True)
    for index, item in enumerate(images):
        (target / f"{index:03}.dcm").write_bytes(part10(item))


def package(model: str) -> Package:
    """Open one of the packages that ship."""
    return open_package(next(path for path in shipped() if path.name == model))


def analyse(study: Study, model: str | Package, *, outputs: frozenset[str] = ORDINARY) -> None:
    """Run a model on the study's images and add its result, or the notice that it takes none of them."""
    opened = package(model) if isinstance(model, str) else model
    name = opened.manifest.name
    context = context_of(study, name)
    try:
        made = _analysed(opened, study.folder / "images", maps=not FROM_MAPS.isdisjoint(outputs))
    except NotEligible as refusal:
        told = Notice(
            kind="not eligible", reason=" ".join(refusal.reasons), what_to_do="Read it without this model."
        )
        add(study, name, encode_notice(context, sources=headers(study), notice=told, outputs=outputs))
        return
    add(study, name, _encoded(context, made, outputs))


def replace_result(study: Study, model: str, *, outputs: frozenset[str]) -> None:
    """Add two results of a model, of which the later replaces the earlier."""
    made = _analysed(package(model), study.folder / "images", maps=False)
    context = context_of(study, model)
    first = _encoded(context, made, outputs)
    old = [
        Reference(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            series_uid=item.series_uid,
            study_uid=study.study_uid,
            output=item.output,
        )
        for item in first
    ]
    later = replace(
        context, run=2, at=context.at + timedelta(hours=1), supersedes=old, superseded_at=context.at
    )
    add(study, "earlier", first)
    add(study, "later", _encoded(later, made, outputs | {"iocm"}))


def _analysed(opened: Package, folder: Path, *, maps: bool) -> Analysis:
    found = instances_from_folder(folder)
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(opened))
    try:
        return analyse_series(opened, engine, found.instances, found.reader, maps=maps)
    finally:
        engine.unload()


def _encoded(context: ResultContext, made: Analysis, outputs: frozenset[str]) -> list[EncodedObject]:
    return encode(context, sources=made.sources, volume=made.volume, findings=made.findings, outputs=outputs)


def context_of(study: Study, model: str) -> ResultContext:
    """Make the context of a result of a model for a study."""
    base = given.context(study_uid=study.study_uid, route=model)
    return replace(base, provenance=replace(base.provenance, model_name=model))


def abstain(example: Example) -> None:
    """Add the result of a model that looked and would not say."""
    findings = Findings(outcome=Outcome.ABSTAINED, statement="The model is not sure: probability 0.55.")
    context = given.context(study_uid=example.study_uid)
    objects = encode(context, sources=headers(example), volume=None, findings=findings, outputs=ORDINARY)
    add(example, "abstained", objects)


def notify(example: Example, notice: Notice, *, outputs: frozenset[str] = ORDINARY) -> None:
    """Add a notice that there is no result."""
    context = given.context(study_uid=example.study_uid)
    add(
        example, notice.kind, encode_notice(context, sources=headers(example), notice=notice, outputs=outputs)
    )


def headers(study: Study) -> list[Dataset]:
    """Read the headers of the images, without pixels, in the order of their files."""
    read = [decoded(outgoing(path)) for path in sorted((study.folder / "images").glob("*.dcm"))]
    for header in read:
        del header.PixelData
    return read


def add(study: Study, name: str, objects: Sequence[EncodedObject]) -> None:
    """Write the objects of one result into a folder of that name."""
    target = study.folder / name
    target.mkdir()
    for index, item in enumerate(objects):
        file = Outgoing(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            data=item.data,
        )
        (target / f"{item.output}.{index:03}.dcm").write_bytes(part10(file))


def kind_of(path: Path) -> str:
    """Tell of which kind of output a result's file is."""
    return path.name.split(".")[0]
