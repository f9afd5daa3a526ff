"""Words: a UID's pseudonym, and vocabularies that nothing else may spell otherwise."""

from __future__ import annotations

import re

import pytest

from appliance.core import words


def test_a_uid_is_written_as_a_pseudonym():
    uid = "1.2.826.0.1.3680043.8.498.1"
    assert re.fullmatch(r"[0-9a-f]{12}", words.short(uid))
    assert words.short(uid) == words.short(uid)
    assert words.short(uid) != words.short(f"{uid}.1")


@pytest.mark.parametrize(
    "kind",
    [
        words.StudyState,
        words.JobState,
        words.DeliveryState,
        words.InstanceState,
        words.Verdict,
        words.Outcome,
    ],
)
def test_a_word_is_its_own_text(kind):
    assert [f"{word}" for word in kind] == [word.value for word in kind]


def test_only_an_inference_can_find_nothing():
    assert words.Outcome.NO_FINDING not in {
        words.Outcome.FAILED,
        words.Outcome.NOT_ELIGIBLE,
        words.Outcome.NOT_RUN,
    }
