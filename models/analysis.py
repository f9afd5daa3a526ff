"""Run one model over one series: prepare, infer, interpret.

Promises: what the manifest does not accept is refused with its reasons before the network runs; an answer
that is not what the manifest says (shape, NaN) is an error and never a result.
Never: knows which engine runs the network. It is given as a function from named arrays to named arrays.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.findings import Findings, Outcome
from models.manifest import Manifest
from models.operations.components import Components
from models.operations.grid import Grid, lay
from models.operations.intensity import IntensityStep, Resample, apply_all
from models.operations.label_maps import LabelMapReader, LabelStatistics, WriteSegments
from models.operations.part import Part, Scene
from models.operations.patches import Infer, Progress, Sliding, slide
from models.operations.statistics import StatisticsStep
from models.package import Package
from models.tensors import FloatArray, LabelArray, Volume

__all__ = ["AnswerError", "Infer", "NotAccepted", "Progress", "analyse", "check_geometry"]


class NotAccepted(ValueError):
    """The series is not one the manifest accepts; `reasons` says why, without patient data."""

    def __init__(self, reasons: list[str]) -> None:
        """Take every reason at once."""
        super().__init__(" ".join(reasons))
        self.reasons = reasons


class AnswerError(RuntimeError):
    """The network's answer is not what its manifest says."""


def analyse(package: Package, volume: Volume, infer: Infer, *, progress: Progress | None = None) -> Findings:
    """Say what the model of `package` finds in `volume`.

    `infer` maps {input name: array} to {output name: array}, see `manifest.input`. `progress` is called with
    (done, total) slices or patches.

    Raises:
        NotAccepted: the geometry or the units of the series are outside what the manifest accepts.
        AnswerError: the network gave another shape than promised, or values that are not finite.
    """
    manifest = package.manifest
    reasons = check_geometry(manifest, facts_of(volume)) + _unit_reasons(manifest, volume)
    if reasons:
        raise NotAccepted(reasons)
    scene = Scene(volume=volume, labels=manifest.answers[0].labels)
    if manifest.answers[0].kind == "labels":
        return _joined(_read_label_maps(manifest, scene, infer, progress))
    return _joined(_read_field(manifest, scene, infer, progress))


def check_geometry(manifest: Manifest, facts: Mapping[str, Any]) -> list[str]:
    """List why a series' geometry is not accepted, one plain sentence each; empty when it is.

    `facts`: slices, slice_spacing_mm, regular, irregularity, gantry_tilt_degrees, orientation. A limit whose
    fact is missing counts as not met: what is not known is not accepted.
    """
    accepts = manifest.accepts
    reasons = []
    slices = facts.get("slices") or 0
    if slices < accepts.slices_min:
        reasons.append(f"It has {slices} slices; the model needs at least {accepts.slices_min}.")
    if accepts.slices_max is not None and slices > accepts.slices_max:
        reasons.append(f"It has {slices} slices; the model takes at most {accepts.slices_max}.")
    if accepts.geometry == "regular" and not facts.get("regular"):
        cause = str(facts.get("irregularity") or "the slices are not evenly spaced").rstrip(".")
        reasons.append(f"The model needs a regular series, and this one is not: {cause}.")
    reasons += _over(
        facts, "slice_spacing_mm", accepts.spacing_mm_max, what="The distance between slices", unit="mm"
    )
    reasons += _over(
        facts, "gantry_tilt_degrees", accepts.gantry_tilt_degrees_max, what="The gantry tilt", unit="degrees"
    )
    if accepts.orientations and facts.get("orientation") not in accepts.orientations:
        wanted = " or ".join(accepts.orientations)
        found = facts.get("orientation") or "of unknown orientation"
        reasons.append(f"The slices are {found}; the model needs {wanted}.")
    return reasons


def _over(facts: Mapping[str, Any], key: str, limit: float | None, *, what: str, unit: str) -> list[str]:
    if limit is None:
        return []
    value = facts.get(key)
    if value is None:
        return [f"{what} is not known; the model takes at most {limit:g} {unit}."]
    if abs(value) > limit:
        return [f"{what} is {abs(value):.1f} {unit}; the model takes at most {limit:g} {unit}."]
    return []


def facts_of(volume: Volume) -> dict[str, Any]:
    """Give the geometry facts of a volume by the names `check_geometry` reads."""
    return {
        "slices": len(volume.voxels),
        "slice_spacing_mm": volume.slice_spacing_mm,
        "regular": volume.regular,
        "irregularity": volume.irregularity,
        "gantry_tilt_degrees": volume.gantry_tilt_degrees,
        "orientation": _orientation(volume),
    }


def _orientation(volume: Volume) -> str:
    """Name the plane whose normal lies within about 37 degrees of an axis of the patient."""
    cosines = np.abs(volume.normal)
    axis = int(cosines.argmax())
    return ("sagittal", "coronal", "axial")[axis] if cosines[axis] >= 0.8 else "oblique"


def _unit_reasons(manifest: Manifest, volume: Volume) -> list[str]:
    if volume.units == manifest.input.units:
        return []
    return [f"The values are in {volume.units or 'no known unit'}; the model needs {manifest.input.units}."]


def _read_label_maps(manifest: Manifest, scene: Scene, infer: Infer, progress: Progress | None) -> list[Part]:
    """Stream the slices through the network into every step."""
    readers = [
        step.begin(scene) for step in manifest.interpret if isinstance(step, LabelStatistics | WriteSegments)
    ]
    steps = _intensity_steps(manifest)[0]
    volume = scene.volume
    for first in range(0, len(volume.voxels), manifest.input.batch):
        block = slice(first, first + manifest.input.batch)
        labels = _infer_labels(manifest, apply_all(steps, volume.voxels[block], volume.valid[block]), infer)
        labels = np.multiply(labels, volume.valid[block], dtype=np.uint8)
        _hand_out(readers, first, labels)
        if progress is not None:
            progress(min(block.stop, len(volume.voxels)), len(volume.voxels))
    return [reader.finish() for reader in readers]


def _hand_out(readers: list[LabelMapReader], first: int, labels: LabelArray) -> None:
    for reader in readers:
        reader.take(first, labels)


def _infer_labels(manifest: Manifest, slices: FloatArray, infer: Infer) -> LabelArray:
    answer = _call(manifest, slices[:, None], infer)
    if answer.shape != (len(slices), 1, *slices.shape[1:]):
        raise AnswerError(f"the network answered with shape {answer.shape} for {len(slices)} slices")
    known = [0, *(label.value for label in manifest.answers[0].labels)]
    if int(answer.max()) > max(known) or int(answer.min()) < 0:
        raise AnswerError("the network answered with a label its manifest does not know")
    return np.asarray(answer[:, 0], dtype=np.uint8)


def _read_field(manifest: Manifest, scene: Scene, infer: Infer, progress: Progress | None) -> list[Part]:
    """Put the series on the network's grid, run it over that, and let every step read the whole field."""
    laid = lay(scene.volume, orientation=manifest.input.orientation, spacing_mm=manifest.input.spacing_mm)
    field = on_grid(manifest, scene.volume, laid)
    patch = manifest.input.patch or laid.shape
    sliding = Sliding(
        patch=patch,
        overlap=manifest.input.overlap,
        batch=manifest.input.batch,
        pad_value=manifest.input.pad_value,
    )
    channels = 1 + max(label.value for label in manifest.answers[0].labels)
    probability = slide(
        field, sliding, lambda batch: _infer_field(manifest, batch, infer, channels), progress=progress
    )
    steps = [step for step in manifest.interpret if isinstance(step, Components)]
    return [step.interpret(probability, laid, scene) for step in steps]


def on_grid(manifest: Manifest, volume: Volume, laid: Grid) -> FloatArray:
    before, after = _intensity_steps(manifest)
    voxels, valid = laid.turn.apply(volume.voxels), laid.turn.apply(volume.valid)
    if manifest.input.spacing_mm is None:
        return apply_all(before, voxels, valid)
    field = laid.sample(lambda z: apply_all(before, voxels[z], valid[z]))
    return apply_all(after, field, np.ones(field.shape, dtype=np.bool_))


def _intensity_steps(manifest: Manifest) -> tuple[tuple[IntensityStep, ...], tuple[IntensityStep, ...]]:
    """Split the prepare steps at resample: (before, after)."""
    before: list[IntensityStep] = []
    after: list[IntensityStep] = []
    current = before
    for step in manifest.prepare:
        if isinstance(step, Resample):
            current = after
        elif not isinstance(step, StatisticsStep):
            current.append(step)
    return tuple(before), tuple(after)


def _infer_field(manifest: Manifest, batch: FloatArray, infer: Infer, channels: int) -> FloatArray:
    answer = _call(manifest, batch, infer)
    if answer.shape != (len(batch), channels, *batch.shape[2:]):
        raise AnswerError(f"the network answered with shape {answer.shape} for a batch of {batch.shape}")
    if not np.isfinite(answer).all():
        raise AnswerError("the network answered with values that are not finite (NaN or infinity)")
    return np.asarray(answer, dtype=np.float32)


def _call(manifest: Manifest, batch: FloatArray, infer: Infer) -> Any:
    given = np.ascontiguousarray(batch, dtype=manifest.input.dtype)
    answers = infer({manifest.input.tensor: given})
    if manifest.answers[0].tensor not in answers:
        raise AnswerError(f"the network gave no output named {manifest.answers[0].tensor!r}")
    return answers[manifest.answers[0].tensor]


def _joined(parts: list[Part]) -> Findings:
    """Join the steps' shares; a finding of any step outweighs an abstention, and that a "no finding"."""
    claims = [part.outcome for part in parts if part.outcome is not None]
    order = (Outcome.FINDING, Outcome.ABSTAINED, Outcome.NO_FINDING)
    outcome = next((claim for claim in order if claim in claims), Outcome.MEASURED)
    segments = [segment for part in parts for segment in part.segments]
    return Findings(
        outcome=outcome,
        statement=" ".join(part.statement for part in parts if part.statement),
        segments=tuple(replace(segment, number=n) for n, segment in enumerate(segments, start=1)),
        measurements=tuple(one for part in parts for one in part.measurements),
        lesions=tuple(one for part in parts for one in part.lesions),
        withheld=tuple(one for part in parts for one in part.withheld),
        details={key: value for part in parts for key, value in part.details.items()},
    )
