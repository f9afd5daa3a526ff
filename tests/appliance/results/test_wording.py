"""Words fit their fields, stay readable, and never hide the caution."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.outputs import OUTPUTS
from appliance.results import wording
from appliance.results.limits import Limits
from models.findings import Code, Withheld
from tests.appliance.results.given import (
    ATTENUATION,
    HU,
    MEAN,
    NO_UNITS,
    PROBABILITY,
    VOLUME,
    context,
    lesions,
    nothing,
    number,
    series,
)


@pytest.mark.parametrize("title", [*OUTPUTS, "notice"])
@pytest.mark.parametrize("model", ["ct-phantom-lesion", "m", "a-very-long-model-name-" * 5])
@pytest.mark.parametrize("update", [None, 12])
def test_a_series_description_fits_and_ends_with_the_caution(title, model, update):
    who = replace(context().provenance, model_name=model, model_version="12.34.56-rc1.build.7")
    # A rejection note is about the other result and has no number of its own.
    update = None if title == "iocm" else update
    text = wording.series_description(title, who, update=update)
    assert len(text) <= 64
    assert text.endswith("not for primary diagnosis")
    assert model[:4] in text
    assert text.isascii()
    assert ("UPDATE 12 " in text) == (update is not None)


def test_the_notice_is_told_from_a_result_in_the_list_of_series():
    titles = {t: wording.series_description(t, context().provenance) for t in (*OUTPUTS, "notice")}
    assert len(set(titles.values())) == len(OUTPUTS) + 1
    assert titles["notice"].startswith("NOT ANALYSED")


def test_plain_keeps_the_meaning_of_signs():
    assert wording.plain("≥ 5 µm – “Ödem”\n(n × 2)") == '>= 5 um - "Odem" (n x 2)'
    assert wording.plain("肺") == "?"


def test_long_string_has_no_backslash_and_fits():
    assert wording.long_string("a\\b") == "a/b"
    assert len(wording.long_string("x" * 100)) == 64


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (12.345, "12.35"), (1234.56, "1234.6"), (-700.04, "-700.0")]
)
def test_numbers_are_short(value, text):
    assert wording.number(value) == text


def test_a_measurement_says_how_it_was_derived_and_in_which_unit():
    found = number(ATTENUATION, 40.5, HU, derivation=MEAN)
    assert wording.measurement(found) == "Mean Attenuation Coefficient: 40.50 HU"
    deviation = Code(value="386136009", scheme="SCT", meaning="Standard Deviation")
    found = number(ATTENUATION, 3.5, HU, derivation=deviation)
    assert wording.measurement(found) == "SD Attenuation Coefficient: 3.50 HU"
    assert wording.measurement(number(PROBABILITY, 0.5, NO_UNITS)) == "Probability: 0.500"


def test_what_is_withheld_is_said_with_its_reason():
    item = Withheld(name=VOLUME, segment="bone", reason="The series is not regular.")
    assert wording.withheld(item) == "Not measured: bone, Volume. The series is not regular."


def test_lesions_beyond_the_bound_are_counted_in_words():
    findings = lesions(series().volume)
    limits = Limits(lesion_groups_max=1, text_lesions_max=1)
    assert len(wording.numbers(findings, limits=limits)) == 1
    assert wording.reservations(findings, limits=limits)[0].startswith("1 more lesions")
    assert wording.reservations(nothing()) == []


def test_lesions_that_only_the_report_lists_are_counted_where_people_read():
    lines = wording.numbers(lesions(series().volume), limits=Limits(text_lesions_max=1))
    assert lines[1:] == ["1 more lesions are listed in the structured report, largest or likeliest first."]


def test_empty_words_of_a_provenance_are_left_out():
    who = replace(context().provenance, engine="", intended_use="")
    lines = wording.made_by(replace(context(), provenance=who))
    assert not any(line.startswith(("Engine", "Intended use")) for line in lines)


def test_without_a_site_no_place_is_named():
    who = replace(context().provenance, site_name="")
    lines = wording.made_by(replace(context(), provenance=who))
    assert lines[0] == "Readside 0.1.0 (Readside project)"
