"""Whether two answers to the same input are the same answer, measured as a reader would see it.

Promises: outcome, verdicts, masks, boxes and numbers are compared, not raw tensors; every difference is one
sentence, and every measure is given whether or not it is within tolerance.
Never: counts a changed decision as a small difference.

Measures, as far as the answers hold such things: "decision_flips" (outcome and verdicts that changed),
"dice <label>" and "dice_min", "volume_change <label>" and "volume_change_max" (share of the reference),
"probability_difference_max", "boxes_unmatched", "box_iou_min", "numbers_out" (numbers beyond tolerance).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models import codes
from models.findings import Detection, Findings, Measurement, Segment, Withheld
from models.manifest_sections import Tolerances
from models.operations.boxes import overlaps
from models.tensors import BoolArray, DoubleArray

SERIES = "series"
POINT_PIXELS = 8.0
"""Half the side of the square by which points are compared: an IoU of 0.99 lets one move by 0.08 pixels."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Hold the verdict, what was measured, and what did not agree, one sentence each."""

    ok: bool
    measures: Mapping[str, float]
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Hold the mask of one segment as packed bits."""

    label: str
    bits: npt.NDArray[np.uint8]
    size: int

    def unpacked(self) -> BoolArray:
        """Give the voxels, flat."""
        return np.unpackbits(self.bits, count=self.size).astype(np.bool_)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Hold one detection: what it is, where, and how probable."""

    kind: str
    slices: tuple[int, int]
    corners: tuple[float, float, float, float]
    probability: float

    def solid(self) -> DoubleArray:
        """Give it with its slices: z, y, x, z, y, x."""
        top, left, bottom, right = self.corners
        return np.array([self.slices[0], top, left, self.slices[1], bottom, right], dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Hold what is compared of an answer; a golden case keeps the same.

    Attributes:
        numbers: measurements of the series, of labels and of lesions, by name.
        verdicts: (verdict, probability) by label.
    """

    outcome: str
    numbers: Mapping[str, float]
    withheld: tuple[str, ...]
    masks: tuple[Mask, ...] = ()
    verdicts: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()


def compare(reference: Findings, candidate: Findings, tolerances: Tolerances) -> Agreement:
    """Compare what a candidate engine answered with what the reference did."""
    return compare_readings(reading_of(reference), reading_of(candidate), tolerances)


def compare_readings(reference: Reading, candidate: Reading, tolerances: Tolerances) -> Agreement:
    """Compare two answers as they are kept."""
    pair = _Pair(reference=reference, candidate=candidate, tolerances=tolerances)
    for judge in (pair.outcome, pair.verdicts, pair.masks, pair.boxes, pair.withheld, pair.numbers):
        judge()
    return Agreement(
        ok=not pair.differences, measures=dict(pair.measures), differences=tuple(pair.differences)
    )


def reading_of(findings: Findings) -> Reading:
    """Take out of findings what is compared."""
    numbers = {name_of(one, one.segment or SERIES): one.value for one in findings.measurements}
    for lesion in findings.lesions:
        numbers |= {name_of(one, f"lesion {lesion.label}"): one.value for one in lesion.measurements}
    return Reading(
        outcome=findings.outcome.value,
        numbers=numbers,
        withheld=tuple(sorted(name_of(one, one.segment or SERIES) for one in findings.withheld)),
        masks=tuple(_mask(segment) for segment in findings.segments),
        verdicts={one.label: (one.verdict.value, one.probability) for one in findings.classifications},
        boxes=tuple(_box(one) for one in findings.detections),
    )


def name_of(one: Measurement | Withheld, owner: str) -> str:
    """Give the name a number is compared by: "bone: Attenuation Coefficient, Mean"."""
    derived = f", {one.derivation.meaning}" if one.derivation else ""
    return f"{owner}: {one.name.meaning}{derived}"


def _mask(segment: Segment) -> Mask:
    return Mask(label=segment.label, bits=np.packbits(segment.mask), size=segment.mask.size)


def _box(one: Detection) -> Box:
    slices = (one.slice_range.start, one.slice_range.stop)
    corners = one.box
    if one.is_point:
        # Points overlap nothing: what agrees is a square around each.
        top, left, bottom, right = one.box
        corners = (top - POINT_PIXELS, left - POINT_PIXELS, bottom + POINT_PIXELS, right + POINT_PIXELS)
    return Box(kind=one.kind, slices=slices, corners=corners, probability=one.probability)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """Two answers, and what was seen so far."""

    reference: Reading
    candidate: Reading
    tolerances: Tolerances
    measures: dict[str, float] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def outcome(self) -> None:
        flipped = self.reference.outcome != self.candidate.outcome
        self.measures["decision_flips"] = float(flipped)
        if flipped:
            self._say(f"outcome is {self.candidate.outcome}; recorded {self.reference.outcome}")

    def verdicts(self) -> None:
        before, after = self.reference.verdicts, self.candidate.verdicts
        self._same_keys(list(before), list(after), what="verdict on")
        for label in before.keys() & after.keys():
            if before[label][0] != after[label][0]:
                self.measures["decision_flips"] += 1
                self._say(f"verdict on {label} is {after[label][0]}; recorded {before[label][0]}")
            self._probability(f"probability of {label}", before[label][1], after[label][1])

    def masks(self) -> None:
        before, after = self.reference.masks, self.candidate.masks
        labels = [one.label for one in before]
        if labels != [one.label for one in after]:
            self._say(f"segments is {[one.label for one in after]}; recorded {labels}")
            return
        for one, other in zip(before, after, strict=True):
            dice = _dice(one, other)
            self.measures[f"dice {one.label}"] = dice
            self._least("dice_min", dice)
            if dice < self.tolerances.dice_min:
                least = self.tolerances.dice_min
                self._say(f"mask of {one.label}: Dice {dice:.5f}; at least {least} is needed")

    def boxes(self) -> None:
        before, after = self.reference.boxes, self.candidate.boxes
        if not before and not after:
            return
        pairs, alone = matched(before, after, self.tolerances.box_iou_min)
        self.measures["boxes_unmatched"] = float(len(alone))
        for one, other, share in pairs:
            self._least("box_iou_min", share)
            self._probability(f"probability of a {one.kind}", one.probability, other.probability)
        for word, box in alone:
            self._say(
                f"a {box.kind} of probability {box.probability:.4f} on slice {box.slices[0]} is {word}: "
                f"no other overlaps it by {self.tolerances.box_iou_min}"
            )

    def withheld(self) -> None:
        before, after = list(self.reference.withheld), list(self.candidate.withheld)
        if before != after:
            self._say(f"withheld is {after}; recorded {before}")

    def numbers(self) -> None:
        before, after = self.reference.numbers, self.candidate.numbers
        said = len(self.differences)
        self._same_keys(sorted(before), sorted(after), what="")
        for key in sorted(before.keys() & after.keys()):
            self._number(key, before[key], after[key])
        self.measures["numbers_out"] = float(len(self.differences) - said)

    def _number(self, key: str, before: float, after: float) -> None:
        quantity = key.rpartition(": ")[2]
        if quantity == codes.PROBABILITY.meaning:
            self._probability(key, before, after)
            return
        if quantity == codes.VOLUME.meaning:
            change = abs(after - before) / before if before else float(after != before)
            owner = key.rpartition(": ")[0]
            self.measures[f"volume_change {owner}"] = change
            self._most("volume_change_max", change)
            if self.tolerances.volume_change_max is not None:
                if not change <= self.tolerances.volume_change_max:
                    self._say(
                        f"{key} changed by {change:.2%}; at most {self.tolerances.volume_change_max:.2%}"
                    )
                return
        self._within(key, before, after)

    def _probability(self, key: str, before: float, after: float) -> None:
        apart = abs(after - before)
        self._most("probability_difference_max", apart)
        allowed = self.tolerances.probability_difference_max
        if allowed is None:
            self._within(key, before, after)
        elif not apart <= allowed:
            self._say(f"{key} is {after:.6g}; recorded {before:.6g}, tolerance {allowed:.3g}")

    def _within(self, key: str, before: float, after: float) -> None:
        allowed = max(self.tolerances.absolute, self.tolerances.relative * abs(before))
        if not abs(after - before) <= allowed:
            self._say(f"{key} is {after:.6g}; recorded {before:.6g}, tolerance {allowed:.3g}")

    def _same_keys(self, before: list[str], after: list[str], *, what: str) -> None:
        for key in [
            *(key for key in before if key not in after),
            *(key for key in after if key not in before),
        ]:
            self._say(f"{what} {key} is {'new' if key in after else 'gone'}".strip())

    def _least(self, name: str, value: float) -> None:
        self.measures[name] = min(value, self.measures.get(name, value))

    def _most(self, name: str, value: float) -> None:
        self.measures[name] = max(value, self.measures.get(name, value))

    def _say(self, sentence: str) -> None:
        self.differences.append(sentence)


def matched(
    before: tuple[Box, ...], after: tuple[Box, ...], iou_min: float
) -> tuple[list[tuple[Box, Box, float]], list[tuple[str, Box]]]:
    """Pair boxes of one kind, those that overlap most first; give the pairs and the ones left alone."""
    shares = sorted(_shares(before, after, iou_min), key=lambda one: -one[2])
    pairs: list[tuple[Box, Box, float]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for one, other, share in shares:
        if one not in used[0] and other not in used[1]:
            used[0].add(one)
            used[1].add(other)
            pairs.append((before[one], after[other], share))
    alone = [("gone", box) for number, box in enumerate(before) if number not in used[0]]
    alone += [("new", box) for number, box in enumerate(after) if number not in used[1]]
    return pairs, alone


def _shares(
    before: tuple[Box, ...], after: tuple[Box, ...], iou_min: float
) -> Iterator[tuple[int, int, float]]:
    if not after:
        return
    others = np.stack([box.solid() for box in after])
    for number, box in enumerate(before):
        for other, share in enumerate(overlaps(box.solid(), others)):
            if share >= iou_min and share > 0 and after[other].kind == box.kind:
                yield number, other, float(share)


def _dice(one: Mask, other: Mask) -> float:
    """Give the overlap of two masks; two empty ones agree."""
    if one.size != other.size or len(one.bits) != len(other.bits):
        return 0.0
    first, second = one.unpacked(), other.unpacked()
    both = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / both if both else 1.0
