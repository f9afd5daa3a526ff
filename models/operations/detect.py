"""The step that turns a network's boxes into detections.

Promises: of boxes of one label that overlap, the most probable stays; no box reaches outside its image.
Never: says "no finding" where a box lies in the band its author does not trust.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.labels import Name
from models.operations.band import Band, Share, Threshold
from models.operations.strict import Strict


class Detect(Strict):
    """Report boxes.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: which are reported; all unless said.
        threshold: score from which a box is a finding.
        abstain: [low, high): when no box reaches `high` and one reaches `low`, the model abstains, and shows
            what reaches `low`.
        nms_iou: boxes of one label that overlap more are one; 1 keeps all.
        link_iou: boxes on neighbouring slices that overlap at least so much are one; none: each by itself.
        boxes_max: how many are listed, the most probable first; all are counted.
    """

    step: Literal["detect"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    threshold: Threshold = 0.5
    abstain: Band | None = None
    nms_iou: Share = 0.5
    link_iou: Annotated[float, Field(gt=0, le=1)] | None = None
    boxes_max: Annotated[int, Field(ge=1, le=1000)] = 100
    reads: ClassVar[tuple[str, ...]] = ("boxes",)
