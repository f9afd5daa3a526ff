"""Make one number of a series from one number per slice."""

from typing import Literal

import numpy as np

from models.tensors import DoubleArray, FloatArray

Pool = Literal["max", "mean", "median"]


def pooled(rows: FloatArray, pool: Pool) -> DoubleArray:
    """Pool (n, k) over n: float64, (k,)."""
    exact = rows.astype(np.float64)
    if pool == "max":
        return np.asarray(exact.max(axis=0))
    return np.asarray(exact.mean(axis=0) if pool == "mean" else np.median(exact, axis=0))
