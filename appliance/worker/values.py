"""From stored cells to the values a model sees: unused bits off, rescaled, brighter is more (PS3.3 C.11.1).

MONOCHROME1 says how an image is shown, not what it measures.
Where the values have a unit (HU) they stay what they are.
Where they have none, a model can only know brightness, so they are turned over:
low + high - value, with low and high the rescaled ends of the stored range.
Rescaling is linear, so turning over before or after it is the same; here it is after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.worker.frames import Cells
from appliance.worker.pixels import PixelFormat

_EXACT_BITS = 16


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Output = stored value x slope + intercept (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """How the cells of one frame become float32 values and which of them are no measurement.

    `padding` is the closed range of stored values that are Pixel Padding (PS3.3 C.7.5.1.1.2), or None.
    """

    pixels: PixelFormat
    rescale: Rescale
    padding: tuple[int, int] | None
    turned_over: bool

    def fill(self, cells: Cells, values: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> None:
        """Write one frame's values, and where they are measurements, into arrays of its shape.

        `valid` is None where nothing is padding.
        """
        stored = self._stored(cells)
        if self.padding is not None and valid is not None:
            low, high = self.padding
            np.logical_or(stored < low, stored > high, out=valid)
        self._rescaled(stored, values)
        if self.turned_over:
            ends = self._range()
            np.subtract(np.float32(sum(ends)), values, out=values)

    def _stored(self, cells: Cells) -> Cells:
        """Take the stored bits out of their cells; what else lies there (old overlays) is not a value."""
        bits = self.pixels.bits_stored
        width = cells.dtype.itemsize * 8
        below = max(self.pixels.high_bit + 1 - bits, 0) if width == self.pixels.bits_allocated else 0
        if bits >= width:
            return cells
        # Up and down again in the cell's own width drops the bits above and spreads the sign.
        native = cells.astype(cells.dtype.newbyteorder("="), copy=False)
        return (native << (width - bits - below)) >> (width - bits)

    def _rescaled(self, stored: Cells, values: NDArray[np.float32]) -> None:
        slope, intercept = self.rescale.slope, self.rescale.intercept
        if slope == 1.0 and intercept.is_integer() and stored.dtype.itemsize * 8 <= _EXACT_BITS:
            # Whole numbers below 2 ** 24 are exact in float32: no need to go through float64.
            np.add(stored, np.float32(intercept), out=values, dtype=np.float32)
            return
        exact = np.multiply(stored, slope, dtype=np.float64)
        exact += intercept
        values[...] = exact

    def _range(self) -> tuple[float, float]:
        half = 2 ** (self.pixels.bits_stored - 1)
        low, high = (-half, half - 1) if self.pixels.signed else (0, 2 * half - 1)
        slope, intercept = self.rescale.slope, self.rescale.intercept
        return low * slope + intercept, high * slope + intercept


def rescale_of(facts: Mapping[str, Any]) -> Rescale:
    """Read the Modality LUT's slope and intercept; absent ones change nothing."""
    return Rescale(
        slope=float(facts.get("RescaleSlope", 1.0)), intercept=float(facts.get("RescaleIntercept", 0.0))
    )


def padding_of(facts: Mapping[str, Any], pixels: PixelFormat) -> tuple[int, int] | None:
    """Read the range of Pixel Padding, in the sign of the pixels whatever VR it was written with."""
    value, limit = facts.get("PixelPaddingValue"), facts.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    ends = [_in_sign(end, pixels) for end in (value, limit) if isinstance(end, int)]
    return min(ends), max(ends)


def _in_sign(value: int, pixels: PixelFormat) -> int:
    """Read the low bits of a value as the pixels' bits are read."""
    bits = pixels.bits_stored
    low_bits = value & ((1 << bits) - 1)
    if pixels.signed and low_bits >= 1 << (bits - 1):
        return low_bits - (1 << bits)
    return low_bits


def is_finite(rescale: Rescale) -> bool:
    """Say whether a rescale can be calculated with: finite, and not a slope that makes everything equal."""
    return math.isfinite(rescale.slope) and math.isfinite(rescale.intercept) and rescale.slope != 0
