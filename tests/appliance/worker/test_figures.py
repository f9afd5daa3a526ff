"""The numbers of one answer: what is known of it, and never a text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from appliance.core.config import parse
from appliance.core.vendors import Vendor
from appliance.health.kinds import SPREADS
from appliance.worker.figures import figures_of, figures_wanted
from tests.appliance.results.given import answers, bands, boxes, lesions, series


def figures(findings, made, **header):
    source = made.sources[0]
    for keyword, value in header.items():
        setattr(source, keyword, value)
    analysis: Any = SimpleNamespace(findings=findings, volume=made.volume, sources=made.sources)
    return figures_of(analysis)


def test_the_series_and_the_answer_are_numbers():
    made = series()
    kept = figures(bands(made.volume), made, Manufacturer="SIEMENS", SliceThickness="3", KVP="120", Rows=16)
    assert kept.vendor is Vendor.SIEMENS
    assert (kept.numbers["thickness"], kept.numbers["kvp"], kept.numbers["rows"]) == (3.0, 120.0, 16.0)
    values = made.volume.voxels[made.volume.valid]
    assert kept.numbers["middle"] == pytest.approx(float(np.median(values)), abs=1e-3)
    assert kept.numbers["low"] <= kept.numbers["middle"] <= kept.numbers["high"]
    assert kept.numbers["volume"] > 0
    assert kept.numbers.keys() <= SPREADS.keys()
    assert all(type(value) is float for value in kept.numbers.values())


def test_scores_and_findings_are_counted():
    made = series()
    assert figures(answers(), made).numbers["score"] == 0.97
    assert figures(answers(), made).numbers["positives"] == 1.0
    assert figures(boxes(), made).numbers["positives"] == 2.0
    found = lesions(made.volume)
    assert figures(found, made).numbers["positives"] == len(found.lesions)


def test_what_is_not_known_is_left_out():
    made = series()
    for keyword in ("SliceThickness", "KVP", "Manufacturer"):
        if keyword in made.sources[0]:
            delattr(made.sources[0], keyword)
    kept = figures(answers(), made)
    assert kept.vendor is Vendor.OTHER
    assert not {"thickness", "kvp", "volume"} & kept.numbers.keys()


def test_a_maker_that_is_on_no_list_is_other():
    assert figures(answers(), series(), Manufacturer="Doe^Jane").vendor is Vendor.OTHER


@pytest.mark.parametrize(("level", "wanted"), [("health+drift", True), ("health", False), ("off", False)])
def test_they_are_kept_only_where_the_site_wants_drift_told(level, wanted):
    registry = {"url": "https://models.example", "device": "box", "telemetry": level}
    site = {"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, "registry": registry}
    assert figures_wanted(parse(site)) is wanted
