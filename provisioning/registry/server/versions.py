"""The numbers of the two newest stamps, which every answer to a device carries: it need not ask."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.core.clock import Clock
from appliance.sync.release import DIRECTOR, IMAGE
from provisioning.registry.layout import Layout

_NAME = "timestamp.json"


class Versions:
    """Reads both stamps, and remembers them for a moment."""

    def __init__(self, folder: Path, clock: Clock, seconds: float) -> None:
        self._layout, self._clock, self._seconds = Layout(folder=folder), clock, seconds
        self._looked_at = float("-inf")
        self._seen = {IMAGE: 0, DIRECTOR: 0}

    def look(self) -> dict[str, int]:
        """Return the version of the stamp of each repository; 0 where none can be read."""
        now = self._clock.elapsed()
        if now - self._looked_at >= self._seconds:
            self._looked_at = now
            self._seen = {name: _version(self._layout.metadata(name) / _NAME) for name in self._seen}
        return self._seen


def _version(path: Path) -> int:
    try:
        version = json.loads(path.read_bytes())["signed"]["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) else 0
