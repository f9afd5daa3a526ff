"""Conditions and the choice of a series."""

from __future__ import annotations

import pytest

from appliance.core.words import Verdict
from appliance.routes.expression import ExpressionError, compile_condition, compile_study_condition
from appliance.routes.match import Candidate, match

BRAIN = {
    "Modality": "CT",
    "SeriesDescription": "STD BRAIN 1MM AX",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "SeriesNumber": 3,
    "SliceThickness": 1.0,
    "slices": 160,
    "slice_spacing_mm": 1.0,
    "regular": True,
    "gantry_tilt_degrees": 0.0,
    "orientation": "axial",
    "frames": 160,
}


def series(uid: str, **changes) -> Candidate:
    return Candidate(series_uid=uid, facts={k: v for k, v in (BRAIN | changes).items() if v is not None})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('Modality == "CT" && SeriesDescription.startsWith("STD BRAIN 1MM") && slices >= 40', True),
        ('Modality == "MR"', False),
        ("slice_spacing_mm <= 1 && SliceThickness < 1.5", True),
        ('"AXIAL" in ImageType && !("LOCALIZER" in ImageType)', True),
        ('ImageType.exists(t, t == "DERIVED")', False),
        ('orientation == "axial" && regular && gantry_tilt_degrees == 0.0', True),
        ('SeriesDescription.matches("(?i)brain")', True),
        ("BodyPartExamined == null", True),
        ('Modality in ["CT", "MR"]', True),
    ],
)
def test_a_condition_answers(text, holds):
    assert compile_condition(text).ask(BRAIN).holds is holds


def test_a_missing_attribute_is_null_and_said_so():
    answer = compile_condition('BodyPartExamined.startsWith("HEAD")').ask(BRAIN)
    assert not answer.holds
    assert answer.reason == "the condition needs BodyPartExamined, which the series does not have"


def test_things_of_different_kinds_are_no_match_and_no_crash():
    answer = compile_condition("SeriesNumber.startsWith('3')").ask(BRAIN)
    assert not answer.holds
    assert "different kinds" in answer.reason


def test_text_that_is_no_unicode_is_no_match_and_no_crash():
    assert not compile_condition('SeriesDescription == "a"').ask({"SeriesDescription": "a\ud800"}).holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('Modalty == "CT"', "did you mean Modality?"),
        ("Modality ==", "Syntax error"),
        ("slices + 1", "not true or false"),
        ('open("/etc/passwd")', "undeclared reference|neither"),
        ('Modality == "CT" &&', "Syntax error"),
    ],
)
def test_a_faulty_condition_is_refused_before_it_runs(text, says):
    with pytest.raises(ExpressionError, match=says.replace("?", r"\?")):
        compile_condition(text)


def test_a_catastrophic_pattern_ends_at_once():
    condition = compile_condition('SeriesDescription.matches("^(a+)+$")')
    assert not condition.ask({"SeriesDescription": "a" * 1000 + "b"}).holds


WHEN = compile_condition('Modality == "CT"')
THIN = compile_condition("slice_spacing_mm <= 3")


def anything(_facts):
    return []


def test_the_series_with_most_slices_is_chosen_and_the_others_are_told_why():
    scout = series("scout", SeriesNumber=1, slices=2)
    thick = series("thick", SeriesNumber=2, slices=30, slice_spacing_mm=5.0)
    thin = series("thin", SeriesNumber=3)
    dose = series("dose", SeriesNumber=999, Modality="SR", slices=0)
    made = match(WHEN, THIN, anything, [scout, thick, thin, dose])
    assert made.verdict is Verdict.RUN
    assert made.chosen is thin
    told = {s.candidate.series_uid: s.text for s in made.sentences}
    assert told["thin"] == "chosen"
    assert told["thick"].startswith("not eligible: the model does not accept the series")
    assert told["scout"] == "eligible, but series 3 is preferred (more slices, thinner or first)"
    assert told["dose"].startswith("not wanted: the condition is not met")


def test_of_equal_series_the_lower_number_is_chosen_whatever_their_order():
    one, two = series("b", SeriesNumber=1), series("a", SeriesNumber=2)
    assert match(WHEN, None, anything, [one, two]).chosen is one
    assert match(WHEN, None, anything, [two, one]).chosen is one


def test_an_eligible_series_goes_before_a_larger_one_that_is_not():
    large, small = series("large", slices=500), series("small", slices=50)
    made = match(
        WHEN, None, lambda facts: ["too many slices"] if facts["slices"] > 400 else [], [large, small]
    )
    assert made.chosen is small


def test_a_wanted_series_that_the_model_cannot_take_is_not_eligible_with_its_reason():
    made = match(
        WHEN, None, lambda _: ["The slices are not evenly spaced.", "Too few slices."], [series("x")]
    )
    assert made.verdict is Verdict.NOT_ELIGIBLE
    assert made.refusal == "The slices are not evenly spaced. Too few slices."
    assert made.chosen is not None


@pytest.mark.parametrize("candidates", [[], [series("x", Modality="MR")], [series("x", Modality=None)]])
def test_no_match_is_an_answer_too(candidates):
    made = match(WHEN, None, anything, candidates)
    assert made.verdict is Verdict.NO_MATCH
    assert made.chosen is None
    assert made.reason
    assert len(made.sentences) == len(candidates)


def test_a_condition_on_earlier_studies_is_over_what_a_peer_says():
    condition = compile_study_condition('StudyDescription.contains("HEAD") && days_before >= 30')
    assert condition.ask({"StudyDescription": "CT HEAD", "days_before": 40}).holds
    assert not condition.ask({"StudyDescription": "CT HEAD", "days_before": 4}).holds
    assert not condition.ask({"days_before": 40}).holds
    assert not compile_study_condition('"CT" in ModalitiesInStudy').ask({}).holds


@pytest.mark.parametrize("text", ["slices > 3", 'PatientName == "A"', "StudyDescripton != null"])
def test_nothing_else_may_be_asked_of_an_earlier_study(text):
    with pytest.raises(ExpressionError, match="is none of StudyDescription, ModalitiesInStudy"):
        compile_study_condition(text)
