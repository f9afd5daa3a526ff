"""The numbers that leave the box in place of words: complete, one for each, and the same for ever."""

from __future__ import annotations

import pytest

from appliance.sync.phase import Phase, code_of, phase_of, word_of
from appliance.sync.refusal import PASSING, RETURNED, WELL, Word

# Written down apart from the code: a box of last year sends these. A line may be added, never changed.
_WORDS = {
    "current": 0,
    "activated": 1,
    "waiting_window": 2,
    "waiting_consent": 3,
    "draining": 4,
    "on_hold": 5,
    "shadow": 6,
    "unreachable": 10,
    "cut_off": 11,
    "too_slow": 12,
    "carrier_gone": 13,
    "captive_portal": 14,
    "not_a_registry": 15,
    "stopped": 16,
    "wrong_key": 20,
    "too_few_signatures": 21,
    "tampered": 22,
    "endless_data": 23,
    "rollback": 24,
    "freeze": 25,
    "fast_forward": 26,
    "mix_and_match": 27,
    "clock_behind": 28,
    "clock_ahead": 29,
    "unassigned": 40,
    "disagree": 41,
    "unknown_form": 42,
    "recalled": 43,
    "incompatible": 44,
    "rejected": 45,
    "held": 46,
    "no_room": 60,
    "busy": 61,
    "box_refused": 62,
    "not_claimed": 63,
    "floors_damaged": 64,
    "failing_jobs": 80,
    "worker_deaths": 81,
    "failure_ratio": 82,
    "slower": 83,
}
_PHASES = (
    "unknown assigned fetching verified built shadow waiting_window waiting_consent draining activating soak"
    " committed rolled_back held refused"
)


def test_the_numbers_of_the_words_stay_what_they_were():
    assert {text: code_of(Word(text)) for text in _WORDS} == _WORDS


@pytest.mark.parametrize("word", Word)
def test_every_word_has_a_number_of_its_own(word: Word):
    assert word_of(code_of(word)) is word
    assert 0 <= code_of(word) < 1000


def test_a_number_that_is_not_known_here_has_no_word():
    assert word_of(999) is None


def test_the_numbers_of_the_phases_stay_what_they_were():
    assert [Phase(number).text for number in range(len(Phase))] == _PHASES.split()


@pytest.mark.parametrize("word", Word)
def test_every_word_says_how_far_a_release_came(word: Word):
    assert phase_of(word) is not Phase.UNKNOWN
    if word in RETURNED:
        assert phase_of(word) is Phase.ROLLED_BACK


def test_what_is_well_is_no_refusal():
    assert not WELL & (PASSING | RETURNED)
    assert Phase.REFUSED not in {phase_of(word) for word in WELL}
