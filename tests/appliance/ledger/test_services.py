"""Services: who came up, and who beat last."""

from __future__ import annotations

from appliance.ledger import services
from tests.appliance.ledger import given


def test_a_service_comes_up_beats_and_comes_up_again(ledger):
    with ledger.write() as tx:
        services.started(tx, "worker", pid=10, at=given.NOW, detail={"engine": "cpu"})
        services.started(tx, "courier", pid=11, at=given.NOW, detail={})
        services.beat(tx, "worker", at=given.NOW + 5)
        courier, worker = services.everyone(tx)
        assert (courier.name, courier.beat_at) == ("courier", given.NOW)
        assert (worker.pid, worker.started_at, worker.beat_at) == (10, given.NOW, given.NOW + 5)
        assert worker.detail == {"engine": "cpu"}
        services.started(tx, "worker", pid=12, at=given.NOW + 9, detail={})
        worker = services.everyone(tx)[1]
        assert (worker.pid, worker.started_at, worker.beat_at) == (12, given.NOW + 9, given.NOW + 9)
