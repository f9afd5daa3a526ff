"""Steps that need numbers of the whole series, or of one slice, before they can change a voxel.

Promises: what is measured is only voxels that hold a measurement; percentiles of a very large series are
taken from an evenly spread part of it, the same part every time.
Never: divides by nothing. A series of one value alone comes out as zeros.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from models.operations.intensity import Clip, IntensityStep, Normalise, Scale
from models.operations.strict import Strict
from models.tensors import FloatArray

Percent = Annotated[float, Field(ge=0, le=100)]
Reach = Literal["series", "slice"]
Voxels = Literal["valid", "nonzero"]
VALUES_MAX = 1 << 24
"""Values a percentile is taken from; above it every second, third, ... voxel."""


class ZScore(Strict):
    """Subtract the mean and divide by the standard deviation of the voxels themselves.

    Attributes:
        per: "series", or "slice" where the network sees slices or images one by one.
        over: "valid": all voxels that are no padding; "nonzero": of these, the ones that are not 0.
    """

    step: Literal["z-score"]
    per: Reach = "series"
    over: Voxels = "valid"

    def settled(self, blocks: Iterable[FloatArray], voxels: int) -> tuple[IntensityStep, ...]:
        """Measure `blocks`, each (n,), and give the fixed steps that do the same."""
        count, total, squares = 0, 0.0, 0.0
        for block in blocks:
            values = _chosen(block, self.over).astype(np.float64)
            count, total = count + values.size, total + float(values.sum())
            # No dot product: its threads cost more than they give where other work keeps the cores busy.
            np.square(values, out=values)
            squares += float(values.sum())
        mean = total / count if count else 0.0
        deviation = float(np.sqrt(max(0.0, squares / count - mean * mean))) if count else 0.0
        # A plain image leaves only rounding: what is left over is not a spread.
        plain = deviation <= 1e-6 * max(1.0, abs(mean))
        return (Normalise(step="normalise", mean=float(mean), deviation=1.0 if plain else deviation),)


class PercentileWindow(Strict):
    """Map the values between two percentiles of the voxels linearly to `to`.

    Attributes:
        low, high: percentiles, 0 to 100; 0 and 100 are the least and the greatest value.
        to: where they go.
        clip: whether values outside are held at the ends.
        per, over: as in `ZScore`.
    """

    step: Literal["percentile-window"]
    low: Percent = 0.5
    high: Percent = 99.5
    to: tuple[float, float] = (0.0, 1.0)
    clip: bool = True
    per: Reach = "series"
    over: Voxels = "valid"

    def settled(self, blocks: Iterable[FloatArray], voxels: int) -> tuple[IntensityStep, ...]:
        """Measure `blocks`, each (n,), and give the fixed steps that do the same; `voxels`: of them all."""
        every = -(-voxels // VALUES_MAX)
        kept = [_chosen(block, self.over)[::every] for block in blocks]
        values = np.concatenate(kept) if kept else np.zeros(0, dtype=np.float32)
        low, high = (
            (float(end) for end in np.percentile(values, (self.low, self.high)))
            if values.size
            else (0.0, 1.0)
        )
        if high <= low:
            # One value alone has no window: it goes to the lower end.
            high = low + max(1.0, abs(low))
        clip = (Clip(step="clip", low=low, high=high),) if self.clip else ()
        return (*clip, Scale(step="scale", low=low, high=high, to=self.to))


StatisticsStep = ZScore | PercentileWindow


def _chosen(block: FloatArray, over: Voxels) -> FloatArray:
    return block if over == "valid" else block[block != 0]
