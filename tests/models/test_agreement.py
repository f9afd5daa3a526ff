"""Two answers are the same when a reader would see the same; what differs is said and measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models import codes
from models.agreement import compare
from models.findings import (
    Classification,
    Code,
    Detection,
    Findings,
    Measurement,
    Outcome,
    Segment,
    Verdict,
)
from models.manifest_sections import Tolerances

LESION = Code(value="52988006", scheme="SCT", meaning="Lesion")
BASE = Findings(outcome=Outcome.FINDING, statement="")


def judged(probability: float, verdict: Verdict = Verdict.PRESENT) -> Findings:
    one = Classification(
        label="nodule", finding=LESION, probability=probability, threshold=0.5, verdict=verdict
    )
    return replace(BASE, classifications=(one,))


def boxed(*boxes: tuple[tuple[float, float, float, float], float]) -> Findings:
    return replace(
        BASE,
        detections=tuple(
            Detection(
                label=str(n),
                kind="nodule",
                finding=LESION,
                probability=probability,
                slice_index=3,
                slice_range=range(3, 4),
                box=box,
            )
            for n, (box, probability) in enumerate(boxes, start=1)
        ),
    )


def drawn(mask: np.ndarray, volume_ml: float) -> Findings:
    segment = Segment(label="organ", number=1, category=LESION, type=LESION, colour_rgb=(1, 2, 3), mask=mask)
    volume = Measurement(name=codes.VOLUME, value=volume_ml, unit=codes.MILLILITRE, segment="organ")
    return replace(BASE, segments=(segment,), measurements=(volume,))


def tolerances(**given: Any) -> Tolerances:
    return Tolerances.model_validate(given)


def test_a_probability_may_move_a_little_and_a_verdict_not_at_all() -> None:
    near = compare(judged(0.80), judged(0.803), tolerances(probability_difference_max=0.005))
    assert near.ok
    assert near.measures["probability_difference_max"] == pytest.approx(0.003)
    assert near.measures["decision_flips"] == 0
    assert not compare(judged(0.80), judged(0.803), tolerances()).ok
    flipped = compare(
        judged(0.501), judged(0.499, Verdict.ABSENT), tolerances(probability_difference_max=0.5)
    )
    assert not flipped.ok
    assert flipped.measures["decision_flips"] == 1
    assert "verdict on nodule is absent; recorded present" in flipped.differences
    doubtful = compare(judged(0.501), judged(0.501, Verdict.ABSTAINED), tolerances())
    assert doubtful.measures["decision_flips"] == 1


def test_an_outcome_that_changed_is_a_flip() -> None:
    agreed = compare(BASE, replace(BASE, outcome=Outcome.ABSTAINED), tolerances())
    assert not agreed.ok
    assert agreed.measures["decision_flips"] == 1


def test_points_agree_as_far_as_boxes_of_a_common_size_do() -> None:
    point = ((20.0, 30.0, 20.0, 30.0), 0.9)
    assert compare(boxed(point), boxed(((20.05, 30.0, 20.05, 30.0), 0.9)), tolerances()).ok
    assert not compare(boxed(point), boxed(((21.0, 30.0, 21.0, 30.0), 0.9)), tolerances()).ok


def test_boxes_are_matched_by_place_and_not_by_order() -> None:
    one, two = ((0.0, 0.0, 10.0, 10.0), 0.9), ((20.0, 20.0, 40.0, 40.0), 0.9)
    moved = ((20.0, 20.0, 40.0, 39.9), 0.9)
    agreed = compare(boxed(one, two), boxed(moved, one), tolerances())
    assert agreed.ok
    assert agreed.measures["boxes_unmatched"] == 0
    assert agreed.measures["box_iou_min"] == pytest.approx(0.995)


@pytest.mark.parametrize(
    ("candidate", "words", "unmatched"),
    [
        (boxed(), "is gone", 1),
        (boxed(((0.0, 0.0, 10.0, 10.0), 0.9), ((50.0, 50.0, 60.0, 60.0), 0.6)), "is new", 1),
        (boxed(((0.0, 0.0, 10.0, 9.0), 0.9)), "no other overlaps", 2),
        (boxed(((0.0, 0.0, 10.0, 10.0), 0.8)), "probability of a nodule is 0.8", 0),
    ],
)
def test_a_box_too_many_too_few_or_elsewhere_is_said(candidate: Findings, words: str, unmatched: int) -> None:
    agreed = compare(boxed(((0.0, 0.0, 10.0, 10.0), 0.9)), candidate, tolerances())
    assert not agreed.ok
    assert any(words in difference for difference in agreed.differences)
    assert agreed.measures["boxes_unmatched"] == unmatched


def test_masks_are_measured_per_label_and_volumes_by_their_own_bound() -> None:
    mask = np.zeros((4, 10, 10), dtype=np.bool_)
    mask[1:3, 2:8, 2:8] = True
    less = mask.copy()
    less[1, 2, 2] = False
    agreed = compare(drawn(mask, 100.0), drawn(less, 99.5), tolerances(dice_min=0.99, volume_change_max=0.01))
    assert agreed.ok
    assert agreed.measures["dice organ"] == agreed.measures["dice_min"] == pytest.approx(142 / 143)
    assert agreed.measures["volume_change_max"] == pytest.approx(0.005)
    strict = compare(drawn(mask, 100.0), drawn(less, 99.5), tolerances(volume_change_max=0.001))
    assert len(strict.differences) == 2
    assert not compare(drawn(mask, 1.0), BASE, tolerances()).ok
    assert not compare(drawn(mask, 1.0), drawn(mask[:2], 1.0), tolerances()).ok
