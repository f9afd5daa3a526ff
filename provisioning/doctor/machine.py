"""The machine as files tell of it: `/proc`, `/sys`, `/etc`; a test points it at a folder of its own.

Never: writes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioning.doctor.limits import LIMITS

_BYTES_MAX = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What can be read of a machine below `root`."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Return where a file of the machine lies."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Return a small file as text; "" when it cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(_BYTES_MAX).decode("utf-8", errors="replace")
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        """Return a file that holds one whole number; None when it does not."""
        try:
            return int(self.text(name))
        except ValueError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the entries of a folder, sorted; none when it cannot be read."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except OSError:
            return []

    def say(self, command: Sequence[str]) -> str | None:
        """Return what a program says on standard output; None when it is not here, fails or hangs."""
        try:
            done = subprocess.run(
                list(command),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LIMITS.program_seconds_max,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


MACHINE = Machine()
