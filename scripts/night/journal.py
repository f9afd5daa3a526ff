"""A journal: one JSON line for each thing that happened, appended in one write each."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Lines in a file and in order; several threads may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()

    def note(self, **line: Any) -> None:
        """Append a line; the kernel has it when this returns, so it outlives the process that wrote it."""
        with self._lock:
            os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Bring every line to the disk."""
        os.fsync(self._file)
        os.close(self._file)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a journal holds; one that was never begun holds nothing."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
