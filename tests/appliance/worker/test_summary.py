"""Every number of every kind of finding is a row for the console."""

from __future__ import annotations

from appliance.worker.summary import rows_of
from tests.appliance.results.given import answers, bands, boxes, lesions, series


def told(findings) -> list[tuple[str, str | None, float | None]]:
    return [
        (row["name"], row["segment"], None if row["value"] is None else round(row["value"], 3))
        for row in rows_of(findings)
    ]


def test_answers_and_boxes_have_their_probabilities():
    assert told(answers()) == [
        ("Probability", "marker: present", 0.97),
        ("Probability", "tube: absent", 0.02),
        ("Probability", "clip: abstained", 0.5),
    ]
    assert told(boxes()) == [("Probability", "nodule 1", 0.91), ("Probability", "nodule 2", 0.62)]


def test_lesions_labels_and_what_was_withheld_are_rows():
    volume = series().volume
    assert ("Long Axis", "lesion 2", 11.5) in told(lesions(volume))
    assert ("Mean Attenuation Coefficient", "bone", 700.5) in told(bands(volume))
    assert ("Volume", "air", None) in told(bands(volume))
