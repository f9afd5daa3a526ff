"""A heartbeat outlives a ledger that fails for a while."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.worker.heartbeat import Heartbeat

SECONDS_MAX = 10.0


def test_a_ledger_that_fails_once_does_not_cost_the_lease(monkeypatch):
    answers = iter([sa.exc.OperationalError("UPDATE jobs", {}, Exception("database or disk is full")), True])
    prolonged = threading.Event()

    def prolong(_self):
        answer = next(answers, True)
        if isinstance(answer, Exception):
            raise answer
        prolonged.set()
        return answer

    monkeypatch.setattr(Heartbeat, "_prolong", prolong)
    job = type("Job", (), {"id": 1})
    with Heartbeat(None, job, Limits(heartbeat_seconds=0.01)):  # type: ignore[arg-type]
        assert prolonged.wait(SECONDS_MAX)
