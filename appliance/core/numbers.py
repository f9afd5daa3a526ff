"""Numbers out of values as they stand in data sets, which may be many, empty, or no numbers at all."""

from __future__ import annotations

import math
from collections.abc import MutableSequence


def first_number(value: object) -> float | None:
    """Return the first of possibly many values as a finite number; what is none is `None` (PS3.5 6.4)."""
    if isinstance(value, MutableSequence):
        value = value[0] if value else None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
