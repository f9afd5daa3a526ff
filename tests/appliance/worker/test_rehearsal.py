"""A made-up result is written once, in every kind that a site asks for, and nothing comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from appliance.core.outputs import OUTPUTS
from appliance.results.encode import encode
from appliance.worker import rehearsal
from appliance.worker.rehearsal import outputs_of, rehearse
from tests.appliance.worker.test_attempt import site


def test_every_output_is_rehearsed(monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def told(*given: Any, **named: Any) -> Any:
        objects = encode(*given, **named)
        made.extend(one.output for one in objects)
        return objects

    monkeypatch.setattr(rehearsal, "encode", told)
    with structlog.testing.capture_logs() as said:
        rehearse(OUTPUTS)
    assert said == []
    assert {"sr", "seg", "sc", "text-sr"} <= set(made)


def test_what_goes_wrong_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rehearsal, "encode", lambda *_given, **_named: 1 / 0)
    with structlog.testing.capture_logs() as said:
        rehearse(OUTPUTS)
    assert [line["event"] for line in said] == ["worker.unrehearsed"]
    assert said[0]["error"] == "ZeroDivisionError"


def test_what_is_rehearsed_is_what_the_routes_destinations_ask_for(tmp_path: Path):
    assert outputs_of(site(tmp_path, outputs=("sr", "gsps"))) == {"sr", "gsps"}
