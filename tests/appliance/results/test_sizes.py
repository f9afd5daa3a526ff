"""Results of the sizes that hospitals have: one lesion, fifty, five hundred; and few marks in 600 slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.results.context import EncodedObject
from appliance.results.encode import encode
from appliance.results.limits import DEFAULT
from models.findings import Findings, Outcome
from tests.appliance.results.given import (
    ABNORMAL,
    BONE,
    LESION,
    TISSUE,
    ball,
    context,
    lesion,
    only,
    read,
    segment,
    series,
)

EVERY = frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf"})
# One mark's report group with its numbers, and one image it names in every list of references.
GROUP_BYTES_MAX, REFERENCE_BYTES_MAX, FRAME_BYTES_MAX = 9_000, 300, 900


def scattered(count: int) -> tuple[list[EncodedObject], Findings]:
    """Scatter lesions over a grid of places, each of two by two by two pixels, and encode all objects."""
    made = series(slices=40, rows=96, columns=96)
    places = [(z, y, x) for z in range(1, 37, 4) for y in range(4, 92, 8) for x in range(4, 92, 8)][:count]
    whole = np.zeros(made.volume.shape, dtype=np.bool_)
    found = []
    for number, (z, y, x) in enumerate(places, start=1):
        mask = np.zeros(made.volume.shape, dtype=np.bool_)
        mask[z : z + 2, y : y + 2, x : x + 2] = True
        whole |= mask
        found.append(lesion(str(number), mask))
    findings = Findings(
        outcome=Outcome.FINDING,
        statement=f"{count} lesions were marked.",
        segments=(segment("lesion", 1, whole, LESION, (255, 80, 60), category=ABNORMAL),),
        lesions=tuple(found),
    )
    objects = encode(context(), sources=made.sources, volume=made.volume, findings=findings, outputs=EVERY)
    return objects, findings


# The last takes a busy machine minutes: the thousands of items of its report are written and read.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [1, 50, 500])
def test_every_lesion_is_a_group_of_the_report_and_in_the_segmentation(count):
    objects, findings = scattered(count)
    assert {made.output for made in objects} == EVERY
    (report,) = only(objects, "sr")
    made = read(report)
    (measurements,) = [
        item for item in made.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    assert len(measurements.ContentSequence) == count
    assert len(report.data) <= GROUP_BYTES_MAX * count + 60 * 1024
    assert b"more lesions" not in report.data
    # What a person reads line by line is bounded, and says where the rest is.
    (page,) = only(objects, "text-sr")
    more = f"{count - DEFAULT.text_lesions_max} more lesions are listed in the structured report"
    assert (more.encode() in page.data) == (count > DEFAULT.text_lesions_max)
    (seg,) = only(objects, "seg")
    drawn = read(seg)
    assert len(drawn.SegmentSequence) == 1
    assert int(drawn.pixel_array.sum()) == int(findings.segments[0].mask.sum()) == 8 * count
    for item in objects:
        assert len(item.data) < 8 * 1024 * 1024, item.output


def test_a_segmentation_of_600_slices_holds_the_few_frames_with_marks_only():
    made = series(slices=600, rows=128, columns=128)
    shape = made.volume.shape
    marks = [ball(shape, (100, 40, 30), 5), ball(shape, (420, 80, 90), 4)]
    bone = ball(shape, (300, 64, 64), 6)
    findings = Findings(
        outcome=Outcome.FINDING,
        statement="2 lesions were marked.",
        segments=(
            segment("lesion", 1, marks[0] | marks[1], LESION, (255, 80, 60), category=ABNORMAL),
            segment("bone", 2, bone, BONE),
            segment("never seen", 3, np.zeros(shape, dtype=np.bool_), TISSUE),
        ),
        lesions=tuple(lesion(str(n), mask) for n, mask in enumerate(marks, start=1)),
    )
    objects = encode(
        context(),
        sources=made.sources,
        volume=replace(made.volume),
        findings=findings,
        outputs=frozenset({"sr", "seg"}),
    )
    (seg,) = only(objects, "seg")
    held = [int(mask.any(axis=(1, 2)).sum()) for mask in (marks[0] | marks[1], bone)]
    drawn = read(seg)
    assert drawn.NumberOfFrames == sum(held) == 33
    # One segment for each label, whatever the number of its lesions.
    assert [item.SegmentLabel for item in drawn.SegmentSequence] == ["lesion", "bone", "never seen"]
    assert len(drawn.PixelData) == sum(held) * 128 * 128 // 8
    bound = sum(held) * (128 * 128 // 8 + FRAME_BYTES_MAX) + 600 * REFERENCE_BYTES_MAX + 20_000
    assert len(seg.data) < bound < 320_000
    (report,) = only(objects, "sr")
    assert len(report.data) < 3 * GROUP_BYTES_MAX + 600 * REFERENCE_BYTES_MAX + 60 * 1024
