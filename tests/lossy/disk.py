"""A folder that forgets what was not synced, and the end of everybody's power.

It needs root, /dev/fuse and a kernel that lets a process be a file system. Where they are not, a test says so
and is skipped, in CI too: a machine of others may have none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lossy.kernel import DEVICE, unmount
from tests.lossy.medium import SECTOR_BYTES, Cut

_ROOT = Path(__file__).resolve().parents[2]
_END_SECONDS_MAX = 30.0


class NoLossyDisk(Exception):
    """There can be no such folder on this machine; the message says why."""


class LossyDisk:
    """One folder, mounted; everything in it is in the memory of a process of its own."""

    def __init__(self, folder: Path, *, seed: int = 0, restless: float = 0.0) -> None:
        """Mount.

        Raises:
            NoLossyDisk: it cannot be had here.
        """
        if os.geteuid() != 0 or not os.access(DEVICE, os.R_OK | os.W_OK):
            raise NoLossyDisk("a file system of a process needs root and /dev/fuse")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lossy.serve", str(folder), str(seed), str(restless)],
            cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # A Ctrl-C is for whoever gives the orders.
            start_new_session=True,
        )  # fmt: skip
        try:
            self._answer()
        except NoLossyDisk:
            self.close()
            raise

    def halt(self) -> None:
        """Take the power away: whoever asks the disk for anything from here on waits for ever."""
        self._ask(halt=True)

    def cut(self, *, seed: int, survive: float = 0.0, grain_bytes: int = SECTOR_BYTES) -> Cut:
        """Drop what was not synced, and mount what is left; files that are open become useless.

        Each thing that was not synced survives with this chance: 0 leaves what is promised and nothing else.
        """
        return Cut(**self._ask(cut={"seed": seed, "survive": survive, "grain_bytes": grain_bytes}))

    def close(self) -> None:
        """Unmount; all that it held is gone."""
        try:
            if self._process.poll() is None:
                self._process.communicate(timeout=_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        finally:
            unmount(self.folder)

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read().strip().splitlines()
            raise NoLossyDisk(said[-1] if said else "the disk's process ended without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def lossy(folder: Path, *, seed: int = 0, restless: float = 0.0) -> Iterator[LossyDisk]:
    """Mount such a folder, and unmount it at the end.

    Raises:
        NoLossyDisk: it cannot be had here.
    """
    disk = LossyDisk(folder, seed=seed, restless=restless)
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def lossy_or_skip(folder: Path, *, seed: int = 0, restless: float = 0.0) -> Iterator[LossyDisk]:
    """Mount such a folder; where that cannot be, skip the test."""
    try:
        disk = LossyDisk(folder, seed=seed, restless=restless)
    except NoLossyDisk as fault:
        pytest.skip(f"no file system that forgets: {fault}")
    try:
        yield disk
    finally:
        disk.close()
