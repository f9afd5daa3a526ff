"""Two versions of a model on the same images: how far they agree on one series, and on many.

The old version is the one whose answer was given. Nobody knows which of the two is right, so these are
numbers of agreement and not of accuracy.

Promises: what is kept of many are counts in fixed cells and moments, the same in whatever order they came,
as small for ten thousand as for ten; masks that are empty in both versions count as no overlap.
Never: keeps a mask, a place or a value of one study in what is added up; holds patient data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np

from models import codes
from models.agreement import Mask, Reading, matched
from models.findings import Outcome, Verdict

# The first three are those in which the numbers may leave a site; a test holds the two together.
DIFFERENCE_EDGES: Final = (-0.5, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5)
RATIO_EDGES: Final = (0.25, 0.5, 0.8, 0.9, 1.1, 1.25, 2, 4)
OVERLAP_EDGES: Final = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
PAIRED_IOU_MIN: Final = 0.1
"""Two boxes that overlap less than this are two findings and not one that moved."""
NAMES_MAX: Final = 64
"""Numbers and labels that are followed by name; a model with more has the rest counted."""
_WITHIN_95: Final = 1.959964
_LESION: Final = "lesion "
_FINDS: Final = {Outcome.FINDING.value: True, Outcome.NO_FINDING.value: False}
_T = TypeVar("_T")
_SAYS: Final = {Verdict.PRESENT.value: True, Verdict.ABSENT.value: False}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Hold what two versions said of one series; of each two values the old version's is the first.

    Attributes:
        outcomes: as in `Findings.outcome`.
        verdicts: by label, of the labels that both answer for.
        dice: by segment, where at least one version marked something; 0 where only one did.
        empty: segments that both versions left empty.
        ious: of the boxes that are the same finding in both.
        gone: boxes of the old version alone.
        new: boxes of the new version alone.
        numbers: measurements by name, in their unit; those of single lesions are not compared, for the
            first lesion of one version may be another than the first of the other.
        unpaired: measurements that only one of the two gives.
        scores: the highest probability that each gave; none where the model gives none.
        voxels: that each marked in all; none where the model marks none.
        seconds: that each took for the model's own work.
    """

    outcomes: tuple[str, str]
    verdicts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dice: Mapping[str, float] = field(default_factory=dict)
    empty: int = 0
    ious: tuple[float, ...] = ()
    gone: int = 0
    new: int = 0
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unpaired: int = 0
    scores: tuple[float, float] | None = None
    voxels: tuple[int, int] | None = None
    seconds: tuple[float, float] | None = None

    @property
    def agrees(self) -> bool:
        """Say whether both came to the same outcome and the same verdicts."""
        return len(set(self.outcomes)) == 1 and all(old == new for old, new in self.verdicts.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Count yes and no of two versions; `open`: at least one of them said neither."""

    both: int = 0
    only_old: int = 0
    only_new: int = 0
    neither: int = 0
    open: int = 0

    def added(self, old: bool | None, new: bool | None) -> Table:
        """Return the table with one study more."""
        if old is None or new is None:
            return replace(self, open=self.open + 1)
        name = {
            (True, True): "both",
            (True, False): "only_old",
            (False, True): "only_new",
            (False, False): "neither",
        }[old, new]
        return replace(self, **{name: getattr(self, name) + 1})


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Hold how many values there were, their mean, and the sum of squared distances from it (Welford)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def added(self, value: float) -> Moments:
        """Return the moments with one value more."""
        n = self.n + 1
        mean = self.mean + (value - self.mean) / n
        return Moments(n=n, mean=mean, squares=self.squares + (value - self.mean) * (value - mean))

    @property
    def deviation(self) -> float | None:
        """Return the standard deviation of a sample; none of fewer than two."""
        return math.sqrt(max(self.squares, 0.0) / (self.n - 1)) if self.n > 1 else None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Return the limits of agreement, mean -+ 1.96 standard deviations (Bland and Altman 1986)."""
        deviation = self.deviation
        if deviation is None:
            return None
        return self.mean - _WITHIN_95 * deviation, self.mean + _WITHIN_95 * deviation


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Hold the agreement of two versions over many series.

    Attributes:
        studies: that both answered.
        agree: of these, with the same outcome and the same verdicts.
        outcomes: "finding" is yes and "no finding" is no.
        verdicts: by label; "present" is yes and "absent" is no.
        dice: how many fell into each cell of `OVERLAP_EDGES`, by segment.
        ious: the same of boxes that are one finding in both.
        numbers: the new value less the old one, by name, in the measurement's unit.
        left_out: names beyond `NAMES_MAX`, each time that one was met.
        scores: the new score less the old one, in the cells of `DIFFERENCE_EDGES`.
        volumes: new volume over old, in the cells of `RATIO_EDGES`; where the old one marked nothing it is
            not counted.
        times: new seconds over old, in the same cells.
        time: the logarithm of that ratio.
    """

    studies: int = 0
    agree: int = 0
    outcomes: Table = field(default_factory=Table)
    verdicts: Mapping[str, Table] = field(default_factory=dict)
    dice: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    empty: int = 0
    ious: tuple[int, ...] = (0,) * (len(OVERLAP_EDGES) + 1)
    gone: int = 0
    new: int = 0
    numbers: Mapping[str, Moments] = field(default_factory=dict)
    unpaired: int = 0
    left_out: int = 0
    scores: tuple[int, ...] = (0,) * (len(DIFFERENCE_EDGES) + 1)
    volumes: tuple[int, ...] = (0,) * (len(RATIO_EDGES) + 1)
    times: tuple[int, ...] = (0,) * (len(RATIO_EDGES) + 1)
    time: Moments = field(default_factory=Moments)

    def added(self, pair: Pair) -> Tally:
        """Return the tally with one series more."""
        ratio = _ratio(pair.seconds)
        scores = () if pair.scores is None else (pair.scores[1] - pair.scores[0],)
        verdicts, more_verdicts = self._verdicts(pair)
        dice, more_dice = self._dice(pair)
        numbers, more_numbers = self._numbers(pair)
        return Tally(
            studies=self.studies + 1,
            agree=self.agree + pair.agrees,
            outcomes=self.outcomes.added(*(_FINDS.get(one) for one in pair.outcomes)),
            verdicts=verdicts,
            dice=dice,
            empty=self.empty + pair.empty,
            ious=_counted(self.ious, OVERLAP_EDGES, pair.ious),
            gone=self.gone + pair.gone,
            new=self.new + pair.new,
            numbers=numbers,
            unpaired=self.unpaired + pair.unpaired,
            left_out=self.left_out + more_verdicts + more_dice + more_numbers,
            scores=_counted(self.scores, DIFFERENCE_EDGES, scores),
            volumes=_counted(self.volumes, RATIO_EDGES, _given(_ratio(pair.voxels))),
            times=_counted(self.times, RATIO_EDGES, _given(ratio)),
            time=self.time.added(math.log(ratio)) if ratio else self.time,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, which `tally_of` reads."""
        return asdict(self)

    @property
    def agreement(self) -> tuple[float, float, float] | None:
        """Return the share of studies that agree, and its 95 % interval (Wilson 1927); none of no study."""
        return None if not self.studies else share(self.agree, self.studies)

    @property
    def time_ratio(self) -> float | None:
        """Return the geometric mean of new seconds over old."""
        return math.exp(self.time.mean) if self.time.n else None

    def _verdicts(self, pair: Pair) -> tuple[dict[str, Table], int]:
        known, more = _followed(self.verdicts, pair.verdicts)
        told = {
            label: self.verdicts.get(label, Table()).added(_SAYS.get(old), _SAYS.get(new))
            for label, (old, new) in known.items()
        }
        return {**self.verdicts, **told}, more

    def _dice(self, pair: Pair) -> tuple[dict[str, tuple[int, ...]], int]:
        known, more = _followed(self.dice, pair.dice)
        nothing = (0,) * (len(OVERLAP_EDGES) + 1)
        told = {
            label: _counted(self.dice.get(label, nothing), OVERLAP_EDGES, (value,))
            for label, value in known.items()
        }
        return {**self.dice, **told}, more

    def _numbers(self, pair: Pair) -> tuple[dict[str, Moments], int]:
        known, more = _followed(self.numbers, pair.numbers)
        told = {
            name: self.numbers.get(name, Moments()).added(new - old) for name, (old, new) in known.items()
        }
        return {**self.numbers, **told}, more


def pair_of(old: Reading, new: Reading, *, seconds: tuple[float, float] | None = None) -> Pair:
    """Compare what two versions said of the same series."""
    dice, empty = _dice_of(old.masks, new.masks)
    same, alone = matched(old.boxes, new.boxes, PAIRED_IOU_MIN)
    before, after = _plain(old.numbers), _plain(new.numbers)
    return Pair(
        outcomes=(old.outcome, new.outcome),
        verdicts={
            label: (old.verdicts[label][0], new.verdicts[label][0])
            for label in sorted(old.verdicts.keys() & new.verdicts.keys())
        },
        dice=dice,
        empty=empty,
        ious=tuple(overlap for _, _, overlap in same),
        gone=sum(word == "gone" for word, _ in alone),
        new=sum(word == "new" for word, _ in alone),
        numbers={name: (before[name], after[name]) for name in sorted(before.keys() & after.keys())},
        unpaired=len(before.keys() ^ after.keys()),
        scores=_both(_score(old), _score(new)),
        voxels=_marked(old, new),
        seconds=seconds,
    )


def tally_of(said: Mapping[str, Any]) -> Tally:
    """Read what `Tally.as_json` wrote."""
    return Tally(
        **{
            **said,
            "outcomes": Table(**said["outcomes"]),
            "verdicts": {label: Table(**table) for label, table in said["verdicts"].items()},
            "dice": {label: tuple(cells) for label, cells in said["dice"].items()},
            "numbers": {name: Moments(**moments) for name, moments in said["numbers"].items()},
            "time": Moments(**said["time"]),
            **{name: tuple(said[name]) for name in ("ious", "scores", "volumes", "times")},
        }
    )


def share(part: int, of: int) -> tuple[float, float, float]:
    """Return part / of and its 95 % interval (Wilson 1927); `of` is at least 1."""
    p, z2 = part / of, _WITHIN_95**2
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = _WITHIN_95 * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return p, max(middle - half, 0.0), min(middle + half, 1.0)


def _dice_of(old: Sequence[Mask], new: Sequence[Mask]) -> tuple[dict[str, float], int]:
    """Compare segments by label; one that a version does not have is empty there."""
    before, after = ({mask.label: mask for mask in masks} for masks in (old, new))
    found: dict[str, float] = {}
    empty = 0
    for label in sorted(before.keys() | after.keys()):
        one, other = before.get(label), after.get(label)
        marked = _count(one) + _count(other)
        if not marked:
            empty += 1
            continue
        found[label] = 2.0 * _common(one, other) / marked
    return found, empty


def _count(mask: Mask | None) -> int:
    return 0 if mask is None else int(np.bitwise_count(mask.bits).sum())


def _common(one: Mask | None, other: Mask | None) -> int:
    if one is None or other is None or one.size != other.size:
        return 0
    return int(np.bitwise_count(one.bits & other.bits).sum())


def _marked(old: Reading, new: Reading) -> tuple[int, int] | None:
    if not old.masks or not new.masks:
        return None
    before, after = (sum(_count(mask) for mask in one.masks) for one in (old, new))
    return before, after


def _plain(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if not name.startswith(_LESION)}


def _score(reading: Reading) -> float | None:
    """Return the highest probability in an answer, wherever the model says it."""
    said = [probability for _, probability in reading.verdicts.values()]
    said += [box.probability for box in reading.boxes]
    said += [v for name, v in reading.numbers.items() if name.endswith(f": {codes.PROBABILITY.meaning}")]
    return max(said, default=None)


def _both(old: float | None, new: float | None) -> tuple[float, float] | None:
    return None if old is None or new is None else (old, new)


def _ratio(values: tuple[float, float] | None) -> float | None:
    if values is None or values[0] <= 0 or values[1] <= 0:
        return None
    return values[1] / values[0]


def _given(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)


def _counted(cells: Sequence[int], edges: Sequence[float], values: Iterable[float]) -> tuple[int, ...]:
    """Return the cells with some values more, each counted at or above the last edge that it reaches."""
    counted = list(cells)
    for value in values:
        counted[sum(value >= edge for edge in edges)] += 1
    return tuple(counted)


def _followed(known: Mapping[str, Any], met: Mapping[str, _T]) -> tuple[dict[str, _T], int]:
    """Return those of the names met that are followed, and how many there is no room for."""
    room = NAMES_MAX - len(known)
    fresh = [name for name in met if name not in known]
    kept = {name: value for name, value in met.items() if name in known or name in fresh[: max(room, 0)]}
    return kept, len(met) - len(kept)
