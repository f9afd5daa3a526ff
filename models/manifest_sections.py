"""The sections of a manifest, each right or wrong by itself; how they must agree is in `manifest_rules`."""

from typing import Annotated, Literal

from pydantic import Field

from models.labels import Label, Text
from models.operations.components import Components
from models.operations.grid import Orientation
from models.operations.intensity import Clip, FillPadding, Resample, Scale
from models.operations.label_maps import LabelStatistics, WriteSegments
from models.operations.strict import Strict

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PrepareStep = Annotated[FillPadding | Clip | Scale | Resample, Field(discriminator="step")]
InterpretStep = Annotated[LabelStatistics | WriteSegments | Components, Field(discriminator="step")]


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
    """Say what the network is fed.

    Attributes:
        tensor: name of the graph's input.
        layout: "slice": (n, 1, y, x), slice by slice; "patch": (n, 1, *patch), slid over the grid;
            "volume": (1, 1, z, y, x), all at once.
        orientation: "source" as the series lies, else which way the axes grow (x, y, z).
        units: of the voxel values before the prepare steps.
        spacing_mm: (z, y, x) of the network's grid; none: the series' own.
        batch: slices or patches per call.
        patch, overlap, pad_value: for "patch": its shape (z, y, x), the share shared with the neighbour, and
            the prepared value beyond the edge.
    """

    tensor: Text
    layout: Literal["slice", "patch", "volume"]
    orientation: Orientation
    dtype: Literal["float32", "float16"] = "float32"
    units: Literal["HU"]
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    patch: tuple[Count, Count, Count] | None = None
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pad_value: float = 0.0


class Output(Strict):
    """Say what the network answers.

    Attributes:
        tensor: name of the graph's output.
        kind: "labels": one number per voxel; "probability": one channel per label, 0-1.
        labels: their meaning.
    """

    tensor: Text
    kind: Literal["labels", "probability"]
    dtype: Literal["uint8", "int32", "int64", "float32", "float16"]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=255)]


class Tolerances(Strict):
    """Say how far an engine may be from the recorded answer and still be the same model.

    A number may differ by `absolute` or by `relative` times itself, whichever is more; a mask must reach
    `dice_min`.
    """

    absolute: Annotated[float, Field(ge=0)] = 1e-4
    relative: Annotated[float, Field(ge=0)] = 1e-4
    dice_min: Share = 0.999


class Resources(Strict):
    """Say what one running copy needs beside the series itself."""

    memory_mib: Count
