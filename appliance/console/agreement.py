"""How far versions of models agree, in lines that people read: for the command line and the page of models.

Promises: a share of studies comes with its interval and with how many it rests on; what was not compared
stands beside it, by reason.
Never: says which of two versions is right, or names a study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from appliance.core.clock import as_text
from appliance.ledger import agreements, comparisons, shadows
from appliance.ledger.agreements import Agreement
from appliance.ledger.comparisons import Word
from appliance.ledger.engine import Tx
from appliance.ledger.shadows import Shadow
from models.beside import DIFFERENCE_EDGES, OVERLAP_EDGES, RATIO_EDGES, Moments, Table, Tally

_SHADOWS_MAX = 20
_AGREEMENTS_MAX = 50
_REASONS: Mapping[str, str] = {
    Word.TOO_MANY: "more waited than the box keeps",
    Word.NO_ANSWER: "the version that serves gave no answer",
    Word.NOT_KEPT: "the answer was not put away in time",
    Word.NO_IMAGES: "the images are no longer here as they were",
    Word.NO_TIME: "the box was never idle for long enough",
    Word.NO_ROOM: "no memory was free beside the models that serve",
    Word.TOO_LARGE: "the series is too large to be worked on beside others",
    Word.ONLY_OLD: "the new version does not read these images",
    Word.ONLY_NEW: "only the new version reads these images",
    Word.NEITHER: "neither version reads these images",
    Word.FAILED: "the new version gave no answer",
    Word.GONE: "the new version's files cannot be used",
    Word.DIED: "workers died over it",
    Word.STOPPED: "the shadow was ended first",
}
_ENDS: Mapping[str, str] = {
    "shadow.stopped": "a person ended it",
    "shadow.activated": "it serves now",
    "shadow.replaced": "another version was assigned in its place",
    "shadow.withdrawn": "the registry does not assign it any more",
    "shadow.deaths": "too many workers died over it",
    "shadow.enough": "it has seen enough",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A shadow, and how many of its comparisons stand where."""

    shadow: Shadow
    counts: Mapping[str, int]

    @property
    def runs(self) -> bool:
        """Say whether it runs now."""
        return self.shadow.ended_at is None

    @property
    def ended(self) -> str:
        """Say why it ended; empty while it runs."""
        return "" if self.runs else _ENDS.get(self.shadow.word or "", self.shadow.word or "")

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        one = self.shadow
        return {
            "name": one.name,
            "version": one.version,
            "digest": one.digest,
            "started_by": one.started_by,
            "started_at": as_text(one.started_at),
            "ended_at": None if one.ended_at is None else as_text(one.ended_at),
            "word": one.word,
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that ran beside another on this box, and what came of it."""

    shadows: Sequence[Line]
    agreements: Sequence[Agreement]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "shadows": [line.as_json() for line in self.shadows],
            "agreements": [_as_json(one) for one in self.agreements],
        }


def report(tx: Tx) -> Report:
    """Read what runs and ran, and how far each two versions agree."""
    listed = shadows.latest(tx, limit=_SHADOWS_MAX)
    return Report(
        shadows=[Line(shadow=one, counts=comparisons.count_of(tx, one.id)) for one in listed],
        agreements=agreements.everything(tx, limit=_AGREEMENTS_MAX),
    )


def lines(one: Agreement) -> list[tuple[str, str]]:
    """Write an agreement: what was measured, and the numbers."""
    tally = one.tally
    told = [("studies compared", str(tally.studies)), *_agreement(tally)]
    if sum(vars(tally.outcomes).values()) > tally.outcomes.open:
        told.append(("finding", _table(tally.outcomes)))
    told += [(f"{label}: present", _table(table)) for label, table in sorted(tally.verdicts.items())]
    told += [(f"{label}: Dice", _cells(cells, OVERLAP_EDGES)) for label, cells in sorted(tally.dice.items())]
    if sum(tally.ious) or tally.gone or tally.new:
        boxes = f"{_cells(tally.ious, OVERLAP_EDGES)}; {tally.gone} only old, {tally.new} only new"
        told.append(("boxes: overlap", boxes))
    told += [(f"{name}: new less old", _moments(moments)) for name, moments in sorted(tally.numbers.items())]
    if tally.left_out:
        told.append(("values without a line", str(tally.left_out)))
    if sum(tally.scores):
        told.append(("score: new less old", _cells(tally.scores, DIFFERENCE_EDGES)))
    if sum(tally.volumes):
        told.append(("volume: new over old", _cells(tally.volumes, RATIO_EDGES)))
    if tally.time_ratio is not None:
        told.append(("time: new over old", f"{tally.time_ratio:.2f} (geometric mean of {tally.time.n})"))
    return [*told, *((reason(word), str(count)) for word, count in sorted(one.words.items()))]


def reason(word: str) -> str:
    """Say why studies were not compared."""
    return f"not compared: {_REASONS.get(word, word)}"


def _agreement(tally: Tally) -> Iterator[tuple[str, str]]:
    if (said := tally.agreement) is not None:
        share, low, high = said
        yield (
            "same outcome",
            f"{tally.agree} of {tally.studies}, {share:.1%} (95 % interval {low:.1%} to {high:.1%})",
        )


def _table(table: Table) -> str:
    said = f"{table.both} both, {table.only_old} only old, {table.only_new} only new, {table.neither} neither"
    return f"{said}, {table.open} undecided" if table.open else said


def _moments(moments: Moments) -> str:
    limits = moments.limits
    if limits is None:
        return f"{moments.mean:.4g} ({moments.n} study)"
    return (
        f"mean {moments.mean:.4g}, limits of agreement {limits[0]:.4g} to {limits[1]:.4g}"
        f" ({moments.n} studies)"
    )


def _cells(cells: Sequence[int], edges: Sequence[float]) -> str:
    """Write the cells that hold something, each with its range."""
    names = [f"below {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    names.append(f"{edges[-1]:g} and more")
    return ", ".join(f"{name}: {count}" for name, count in zip(names, cells, strict=True) if count) or "none"


def _as_json(one: Agreement) -> dict[str, Any]:
    tally = one.tally
    numbers = {
        name: {
            "n": moments.n,
            "mean": moments.mean,
            "deviation": moments.deviation,
            "limits": moments.limits,
        }
        for name, moments in tally.numbers.items()
    }
    return {
        **vars(one.between),
        "first_at": as_text(one.first_at),
        "last_at": as_text(one.last_at),
        "not_compared": dict(one.words),
        "agreement": tally.agreement,
        "time_ratio": tally.time_ratio,
        "edges": {"overlap": OVERLAP_EDGES, "difference": DIFFERENCE_EDGES, "ratio": RATIO_EDGES},
        **tally.as_json(),
    } | {"numbers": numbers}
