"""The sections of a manifest, each right or wrong by itself; how they must agree is in `manifest_rules`.

What a network answers is in `manifest_outputs`.
"""

from typing import Annotated, Literal

from pydantic import Field

from models.labels import Name, Text
from models.operations.class_map import ClassMap
from models.operations.classify import Classify
from models.operations.components import Components
from models.operations.detect import Detect
from models.operations.grid import Orientation
from models.operations.heat_map import HeatMap
from models.operations.intensity import Clip, FillPadding, IntensityStep, Normalise, Resample, Scale, Window
from models.operations.label_maps import LabelStatistics, WriteSegments
from models.operations.measure import Measure
from models.operations.patches import Blending
from models.operations.statistics import PercentileWindow, StatisticsStep, ZScore
from models.operations.strict import Strict

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
Share = Annotated[float, Field(ge=0, le=1)]
ChannelStep = Annotated[
    Clip | Scale | Window | Normalise | ZScore | PercentileWindow, Field(discriminator="step")
]
PrepareStep = Annotated[
    FillPadding | Clip | Scale | Window | Normalise | ZScore | PercentileWindow | Resample,
    Field(discriminator="step"),
]
InterpretStep = Annotated[
    LabelStatistics | WriteSegments | Components | Classify | Measure | Detect | ClassMap | HeatMap,
    Field(discriminator="step"),
]
ValueStep = IntensityStep | StatisticsStep


class Accepts(Strict):
    """Say which series the model may see.

    Attributes:
        when: CEL expression over the series' attributes, the same language as a route's.
        geometry: "regular" needs one lattice (no gap, no doubled position, one distance); "any" does not.
        slices_min, slices_max: how many slices.
        spacing_mm_max: largest distance between slices along the normal.
        gantry_tilt_degrees_max: largest angle between stack and normal, either way.
        orientations: axial, sagittal, coronal, oblique; empty: all.
    """

    when: Text
    geometry: Literal["any", "regular"]
    slices_min: Count = 1
    slices_max: Count | None = None
    spacing_mm_max: Positive | None = None
    gantry_tilt_degrees_max: Annotated[float, Field(ge=0, le=90)] | None = None
    orientations: tuple[Literal["axial", "sagittal", "coronal", "oblique"], ...] = ()


class Input(Strict):
    """Say what the network is fed; c is 1, or the number of `[[channels]]`.

    Attributes:
        tensor: name of the graph's input.
        layout: "slice": (n, c, y, x), slice by slice as it is; "image": (n, c, *size), each slice or
            radiograph resized; "patch": (n, c, *patch), slid over the grid; "volume": (1, c, z, y, x), all at
            once.
        orientation: "source" as the series lies, else which way the axes grow (x, y, z).
        units: of the voxel values before the prepare steps: "HU", or "" where they have none (MR, CR, DX).
        spacing_mm: (z, y, x) of the network's grid; none: the series' own.
        batch: slices, images or patches per call.
        patch, overlap, blend, pad_value: for "patch": its shape (z, y, x), the share shared with the
            neighbour, how overlapping answers are weighed, and the prepared value beyond the edge.
        size: for "image": (rows, columns) the network is fed; for "volume": (z, y, x) it is resized to.
        fit: for "image": "stretch" each axis to `size`, or keep the shape and "pad" with `pad_value`.
    """

    tensor: Text
    layout: Literal["slice", "image", "patch", "volume"]
    orientation: Orientation
    dtype: Literal["float32", "float16"] = "float32"
    units: Literal["HU", ""]
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    patch: tuple[Side, Side, Side] | None = None
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.0
    blend: Blending = "gaussian"
    pad_value: float = 0.0
    size: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)] | None = None
    fit: Literal["stretch", "pad"] = "stretch"


class Channel(Strict):
    """Say how one channel of the input is made from what the prepare steps gave."""

    name: Name
    prepare: tuple[ChannelStep, ...] = ()


class Tolerances(Strict):
    """Say how far an engine may be from the recorded answer and still be the same model.

    Attributes:
        absolute, relative: a number may differ by `absolute` or by `relative` times itself, the larger.
        dice_min: overlap a mask must reach.
        volume_change_max: share a volume may change by; none: volumes are numbers like others.
        probability_difference_max: how far a probability may move; none: it is a number like others.
        box_iou_min: overlap that makes two boxes the same.
    """

    absolute: Annotated[float, Field(ge=0)] = 1e-4
    relative: Annotated[float, Field(ge=0)] = 1e-4
    dice_min: Share = 0.999
    volume_change_max: Share | None = None
    probability_difference_max: Share | None = None
    box_iou_min: Share = 0.99


class Resources(Strict):
    """Say what one running copy needs beside the series itself."""

    memory_mib: Count


class Variant(Strict):
    """Say which package this one was made from by reducing its precision.

    Attributes:
        of: digest of that package.
        precision: what was done to the graph.
        tool: name and version of what did it.
    """

    of: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    precision: Literal["fp16", "int8-qdq", "int8-qdq-symmetric"]
    tool: Text
