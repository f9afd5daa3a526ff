"""Work beside a service's own: a thread for each of several names, so that a hanging one holds nothing up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from appliance.services.stage import Stage


class Beside:
    """One thread for each name; each ends by itself when the service stops."""

    def __init__(
        self, stage: Stage, keep: Callable[[str], None], names: Iterable[str], *, called: str
    ) -> None:
        self._stage = stage
        self._threads = [
            threading.Thread(target=keep, args=(name,), name=f"{called} {name}", daemon=True)
            for name in names
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for what is under way, and no longer than a service may take to end."""
        deadline = time.monotonic() + self._stage.limits.drain_seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
