"""Steps that change voxel values one by one.

Promises: each works on any block of a volume, so a series is prepared slice by slice without a second copy.
Never: changes the array it was given; one that nothing changes in may come back itself.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from models.operations.strict import Strict
from models.tensors import BoolArray, FloatArray


class FillPadding(Strict):
    """Give Pixel Padding a value the network knows (PS3.3 C.7.5.1.1.2)."""

    step: Literal["fill-padding"]
    value: float

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return `values` with `value` where `valid` is False."""
        # One True stands for all of a series without padding (`Volume.valid`).
        if valid.size and not any(valid.strides) and valid.flat[0]:
            return values
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
    """Map [low, high] linearly to `to`, which is [0, 1] unless said; values outside go outside."""

    step: Literal["scale"]
    low: float
    high: float
    to: tuple[float, float] = (0.0, 1.0)

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return (values - low) / (high - low), stretched to `to`."""
        bottom, top = self.to
        scaled = (values - np.float32(self.low)) * np.float32((top - bottom) / (self.high - self.low))
        return scaled + np.float32(bottom) if bottom else scaled


class Window(Strict):
    """Map a window linearly to [0, 1] and hold values in it (PS3.3 C.11.2.1.3.2, LINEAR_EXACT)."""

    step: Literal["window"]
    centre: float
    width: Annotated[float, Field(gt=0)]

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return 0 at centre - width / 2 and below, 1 at centre + width / 2 and above."""
        low = np.float32(self.centre - self.width / 2)
        shares: FloatArray = (values - low) * np.float32(1.0 / self.width)
        return np.clip(shares, np.float32(0), np.float32(1))


class Normalise(Strict):
    """Subtract a mean and divide by a deviation that the author took from his training data."""

    step: Literal["normalise"]
    mean: float
    deviation: Annotated[float, Field(gt=0)]

    def apply(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Return (values - mean) / deviation."""
        return (values - np.float32(self.mean)) * np.float32(1.0 / self.deviation)


class Resample(Strict):
    """Mark where the volume goes onto the grid of the input's spacing; what it does is in `grid`."""

    step: Literal["resample"]


IntensityStep = FillPadding | Clip | Scale | Window | Normalise


def apply_all(steps: tuple[IntensityStep, ...], values: FloatArray, valid: BoolArray) -> FloatArray:
    """Run `steps` in order over a block; `valid` has the block's shape."""
    for step in steps:
        values = step.apply(values, valid)
    return values
