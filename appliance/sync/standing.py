"""What the last turn came to, in a file beside the floors: for `readside status` and for the next turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.core.clock import as_text
from appliance.disk.durable import make_folder, write_file
from appliance.sync.phase import Phase
from appliance.sync.refusal import WELL, Word

_STATUS = "status.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a turn came to for one model; for the registry as a whole `model` is empty.

    Attributes:
        phase: how far the release came on this device; UNKNOWN where the outcome is of no release.
        digest: of the release's package, where it is known.
    """

    word: Word
    sentence: str = ""
    model: str = ""
    version: str = ""
    phase: Phase = Phase.UNKNOWN
    digest: str = ""

    @property
    def is_well(self) -> bool:
        """Say whether nothing is wrong."""
        return self.word in WELL

    @property
    def text(self) -> str:
        """Return it in one line."""
        who = f"{self.model} {self.version}".strip() or "registry"
        return f"{who}: {self.word}{': ' if self.sentence else ''}{self.sentence}"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The last turn: epoch seconds of it, and of the last one in which all was well."""

    at: float
    well_at: float | None
    outcomes: tuple[Outcome, ...]

    @property
    def is_well(self) -> bool:
        """Say whether nothing is wrong with any model."""
        return all(outcome.is_well for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """Return it for a report."""
        return {
            "at": as_text(self.at),
            "well_at": None if self.well_at is None else as_text(self.well_at),
            "outcomes": [{**asdict(outcome), "phase": outcome.phase.text} for outcome in self.outcomes],
        }


def registry_folder(root: Path) -> Path:
    """Return where a box keeps what it knows of its registry; `root` is the storage root."""
    return root / "registry"


def read_standing(root: Path) -> Standing | None:
    """Return what the last turn came to; none when there was none, or its file is of no use."""
    try:
        said = json.loads((registry_folder(root) / _STATUS).read_text(encoding="utf-8"))
        outcomes = tuple(_outcome(one) for one in said["outcomes"])
        return Standing(at=said["at"], well_at=said["well_at"], outcomes=outcomes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_standing(root: Path, standing: Standing) -> None:
    """Keep what a turn came to.

    Raises:
        NoSpace, DiskFault: the disk is full or failed.
    """
    folder = make_folder(registry_folder(root))
    write_file(folder / _STATUS, json.dumps(asdict(standing), indent=1).encode())


def _outcome(said: dict[str, Any]) -> Outcome:
    read = {"word": Word(said["word"]), "phase": Phase(said.get("phase", Phase.UNKNOWN))}
    return Outcome(**{**said, **read})


def fresh(outcomes: Sequence[Outcome], before: Standing | None) -> list[Outcome]:
    """Return the outcomes that the turn before did not have: only these go into the timeline."""
    known = {(one.word, one.model, one.version) for one in before.outcomes} if before is not None else set()
    return [one for one in outcomes if (one.word, one.model, one.version) not in known]
