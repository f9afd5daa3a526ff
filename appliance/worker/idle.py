"""Whether cores have nothing to do at this moment, as Linux tells it (proc_loadavg(5)).

Promises: says no where it cannot be known.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOADAVG = Path("/proc/loadavg")
_LOOKS = 3
_BETWEEN_SECONDS = 0.001


def idle_share(path: Path = _LOADAVG) -> float:
    """Return the share of the cores that no thread but this one wants, the least of a few looks: 0 to 1."""
    cores = os.cpu_count() or 1
    least = 1.0
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_SECONDS)
        try:
            # "0.20 0.18 0.12 1/80 11206": this thread is one of those that run.
            wanting = int(path.read_text(encoding="ascii").split()[3].split("/")[0]) - 1
        except (OSError, ValueError, IndexError):
            return 0.0
        least = min(least, 1.0 - wanting / cores)
    return max(least, 0.0)
