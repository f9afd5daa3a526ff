"""Run one model over one series: prepare, infer, interpret.

Promises: what the manifest does not accept is refused with its reasons before the network runs; an answer
that is not what the manifest says (shape, NaN, a probability beyond 1) is an error and never a result.
Never: knows which engine runs the network. It is given as a function from named arrays to named arrays.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.acceptance import NotAccepted, check_geometry, facts_of, unit_reasons
from models.answers import AnswerError
from models.fieldwise import read_field
from models.findings import Findings, Outcome, Segment
from models.operations.heat_map import HeatMap
from models.operations.part import Part
from models.operations.patches import Infer, Progress, Tensors
from models.package import Package
from models.preparation import on_grid
from models.slicewise import Known, ask_ahead, goes_ahead, read_slices
from models.tensors import Volume

__all__ = [
    "AnswerError",
    "Infer",
    "Known",
    "NotAccepted",
    "Progress",
    "analyse",
    "ask_ahead",
    "check_geometry",
    "facts_of",
    "first_fed",
    "goes_ahead",
    "on_grid",
]


def analyse(
    package: Package,
    volume: Volume,
    infer: Infer,
    *,
    progress: Progress | None = None,
    maps: bool = False,
    known: Known = lambda _first: None,
) -> Findings:
    """Say what the model of `package` finds in `volume`.

    `infer` maps {input name: array} to {output name: array}, see `manifest.input`. It is called from the
    caller's thread, and what it returns must stay as it is until the call after the next. `progress` is
    called with (done, total) slices or patches. With `maps` the maps
    that its manifest asks for are made too; everything else is the same with and without them. `known` gives
    the answers to batches of slices that `ask_ahead` asked about before, of a network that `goes_ahead`.

    Raises:
        NotAccepted: the geometry or the units of the series are outside what the manifest accepts.
        AnswerError: the network gave another shape than promised, or values that are not finite.
    """
    manifest = package.manifest
    reasons = check_geometry(manifest, facts_of(volume)) + unit_reasons(manifest, volume)
    if reasons:
        raise NotAccepted(reasons)
    steps = tuple(step for step in manifest.interpret if maps or not isinstance(step, HeatMap))
    if manifest.input.layout in ("slice", "image"):
        parts = read_slices(manifest, volume, infer, steps=steps, progress=progress, known=known)
    else:
        parts = read_field(manifest, volume, infer, steps=steps, progress=progress)
    return _joined(parts)


class _Fed(Exception):
    """Carries the first thing a network was given."""

    def __init__(self, given: Tensors) -> None:
        super().__init__("fed")
        self.given = given


def first_fed(package: Package, volume: Volume) -> dict[str, npt.NDArray[Any]]:
    """Give what the model of `package` would feed its network first for `volume`; the network is not run.

    Raises:
        NotAccepted: as `analyse`.
    """

    def caught(given: Tensors) -> Tensors:
        raise _Fed(given)

    try:
        analyse(package, volume, caught)
    except _Fed as fed:
        return {name: np.array(array) for name, array in fed.given.items()}
    raise AssertionError("a package runs its network")


def _joined(parts: list[Part]) -> Findings:
    """Join the steps' shares; a finding of any step outweighs an abstention, and that a "no finding"."""
    claims = [part.outcome for part in parts if part.outcome is not None]
    order = (Outcome.FINDING, Outcome.ABSTAINED, Outcome.NO_FINDING)
    outcome = next((claim for claim in order if claim in claims), Outcome.MEASURED)
    segments = [segment for part in parts for segment in part.segments]
    detections = [one for part in parts for one in part.detections]
    return Findings(
        outcome=outcome,
        statement=" ".join(part.statement for part in parts if part.statement) or _outlined(segments),
        segments=tuple(replace(segment, number=n) for n, segment in enumerate(segments, start=1)),
        measurements=tuple(one for part in parts for one in part.measurements),
        lesions=tuple(one for part in parts for one in part.lesions),
        detections=tuple(
            replace(one, label=str(n))
            for n, one in enumerate(sorted(detections, key=lambda one: -one.probability), start=1)
        ),
        classifications=tuple(one for part in parts for one in part.classifications),
        withheld=tuple(one for part in parts for one in part.withheld),
        maps=tuple(one for part in parts for one in part.maps),
        details={key: value for part in parts for key, value in part.details.items()},
    )


def _outlined(segments: list[Segment]) -> str:
    """Say something where no step did: silence is never an answer."""
    return f"Outlined: {', '.join(one.label for one in segments)}. No finding is claimed."
