"""Steps that change voxel values one by one.

Promises: each works on any block of a volume, so a series is prepared slice by slice without a second copy.
Never: changes the array it was given.
"""

from typing import Literal

import numpy as np

from models.operations.strict import Strict
from models.tensors import BoolArray, FloatArray


class FillPadding(Strict):
    """Give Pixel Padding a value the network knows (PS3.3 C.7.5.1.1.2)."""

    step: Literal["fill-padding"]
    value: float

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return `values` with `value` where `valid` is False."""
        return np.where(valid, values, np.float32(self.value))


class Clip(Strict):
    """Hold values between two bounds."""

    step: Literal["clip"]
    low: float
    high: float

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return `values` limited to [low, high]."""
        return np.clip(values, np.float32(self.low), np.float32(self.high))


class Scale(Strict):
    """Map [low, high] linearly to [0, 1]; values outside go outside."""

    step: Literal["scale"]
    low: float
    high: float

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return (values - low) / (high - low)."""
        return (values - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))


class Resample(Strict):
    """Mark where the volume goes onto the grid of the input's spacing; what it does is in `grid`."""

    step: Literal["resample"]


IntensityStep = FillPadding | Clip | Scale
PrepareStep = IntensityStep | Resample


def apply_all(steps: tuple[IntensityStep, ...], values: FloatArray, valid: BoolArray) -> FloatArray:
    """Run `steps` in order over a block; `valid` has the block's shape."""
    for step in steps:
        values = step.apply(values, valid)
    return values
