"""What scripts/bench-attacks says is so: a door that holds, a door that does not, and how it judges."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.bench_attacks import verdict

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the sockets of a box lie below it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def attacked(folder: Path, *options: str) -> Any:
    """The figures of a short run."""
    command = [sys.executable, "-m", "scripts.bench_attacks", "--json", "--folder", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_our_listener_serves_on_beside_a_giant_and_beside_a_flood(folder: Path) -> None:
    figures = attacked(folder, "--receivers", "readside", "--attacks", "W2", "W4-beside", "--seconds", "1")
    assert [figure["attack"] for figure in figures] == ["W2", "W4-beside"]
    for figure in figures:
        # Slow is a matter of this machine; locked out or dead would be a matter of ours.
        assert figure["verdict"] in ("served", "slow")
        assert figure["served"] > 0
        assert figure["lived"]
    giant = figures[0]
    assert giant["served"] == giant["asked"]
    assert giant["cut_seconds"] is not None
    assert giant["attacker"].startswith("cut after")
    assert list(folder.iterdir()) == []


def test_a_receiver_without_a_guard_is_told_apart(folder: Path) -> None:
    (figure,) = attacked(folder, "--receivers", "pynetdicom", "--attacks", "W7", "--seconds", "1")
    assert figure["attacker"] == "answered 0000, a file outside its folder"
    assert figure["cut_seconds"] is None


@pytest.mark.parametrize(
    ("came", "lived", "word"),
    [
        ([0.1, 0.2], True, "served"),
        ([0.1, 1.2], True, "slow"),
        ([0.1, 0.1, None], True, "slow"),
        ([0.1, None, None], True, "locked out"),
        ([], True, "locked out"),
        ([0.1, 0.1], False, "died"),
    ],
)
def test_the_words(came: list[float | None], lived: bool, word: str) -> None:
    assert verdict(came, lived=lived) == word
