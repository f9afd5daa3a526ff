"""Limits: every bound says its unit, and the bounds fit each other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from appliance.core.limits import DEFAULT, Limits


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_bound_is_positive_and_names_what_it_counts(name):
    assert getattr(DEFAULT, name) > 0
    assert (
        name.removesuffix("_max")
        .removesuffix("_min")
        .endswith(
            (
                "seconds",
                "bytes",
                "rows_waiting",
                "rows_per_commit",
                "rows_per_minute",
                "kills",
                "attempts",
                "tickets_waiting",
                "batch",
                "refusals",
                "references",
                "asks",
                "losses",
                "promises_waiting",
                "tries",
                "answers_waiting",
                "deaths",
                "starts",
                "jobs_per_sweep",
                "comparisons",
                "notices_open",
                "notice_instances_open",
                "notices_per_turn",
                "studies",
                "workitems",
            )
        )
    )


def test_a_lease_outlives_several_heartbeats():
    assert DEFAULT.lease_seconds >= 3 * DEFAULT.heartbeat_seconds


def test_a_retry_never_waits_longer_than_its_maximum():
    assert DEFAULT.delivery_backoff_seconds <= DEFAULT.delivery_backoff_seconds_max
    assert DEFAULT.restart_seconds <= DEFAULT.restart_seconds_max


def test_limits_do_not_change_at_run_time():
    with pytest.raises(FrozenInstanceError):
        DEFAULT.kills_max = 9  # type: ignore[misc]
