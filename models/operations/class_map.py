"""The step that writes several labels at once: a segment and a volume for each.

Promises: a label that was looked for and not found has no segment and a volume of 0.
Never: gives a volume where the distance between slices is not one number.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.labels import Name
from models.operations.band import Threshold
from models.operations.strict import Strict

Millilitres = Annotated[float, Field(ge=0)]


class ClassMap(Strict):
    """Write segments and volumes of labels.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: which are written; all unless said. A label that only means "background" is left out here.
        measure: "volume", or nothing.
        threshold: for kind "probability": from which probability a voxel belongs to a label.
        findings: labels whose presence is a finding; without any the step makes no claim.
        volume_ml_min: less of such a label than this is no finding.
        abstain_ml: [low, high) of such a label's volume where the model abstains.
    """

    step: Literal["class-map"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    measure: tuple[Literal["volume"], ...] = ("volume",)
    threshold: Threshold = 0.5
    findings: tuple[str, ...] = ()
    volume_ml_min: Millilitres = 0.0
    abstain_ml: tuple[Millilitres, Millilitres] | None = None
    reads: ClassVar[tuple[str, ...]] = ("labels", "classes", "probability")
