"""What Prometheus scrapes of the fleet: counts by state, phase and alert, and what this process took in.

Never: a name of a site, a slot or a device; a release is named by its reference, as in telemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.sync.phase import Phase
from provisioning.registry.database import alerts, fleet
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server.intake import Counts
from provisioning.registry.server.room import Room, Watcher, room_of

router = APIRouter(include_in_schema=False, dependencies=[Watcher])
_PREFIX = "readside_registry_"


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Fleet(room_of(request), request.app.state.parts.intake.counts))
    return Response(generate_latest(made), media_type=CONTENT_TYPE_LATEST)


class _Fleet(Collector):
    """Reads the database once for each scrape."""

    def __init__(self, room: Room, counts: Counts) -> None:
        self._room, self._counts = room, counts

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        now, limits = self._room.clock.now(), self._room.limits
        with self._room.database.read() as tx:
            states, phases = fleet.by_state(tx), fleet.by_phase(tx)
            heard, opened = fleet.heard_since(tx, now - limits.silent_seconds), alerts.open_by_kind(tx)
        yield _gauge("devices", "Devices by state.", ["state"], {(s,): states.get(s, 0) for s in DeviceState})
        yield _gauge("devices_heard", "Enrolled devices that were heard lately.", [], {(): heard})
        told: dict[tuple[str, ...], int] = {
            (f"{release:012x}", _phase(phase)): count for (release, phase), count in phases.items()
        }
        yield _gauge("release_devices", "Devices by release and phase.", ["release", "phase"], told)
        yield _gauge("alerts_open", "Open alerts by kind.", ["kind"], {(k,): n for k, n in opened.items()})
        yield from self._intake()

    def _intake(self) -> Iterator[Metric]:
        counts = self._counts
        yield CounterMetricFamily(
            f"{_PREFIX}batches", "Batches this process has written.", value=counts.batches
        )
        yield CounterMetricFamily(f"{_PREFIX}records", "Records in them.", value=counts.records)
        yield CounterMetricFamily(
            f"{_PREFIX}transactions", "Transactions they took.", value=counts.transactions
        )
        yield CounterMetricFamily(
            f"{_PREFIX}turned_away", "Batches that were told to come later.", value=counts.turned_away
        )


def _phase(number: int) -> str:
    return Phase(number).name.lower() if number in set(Phase) else "unknown"


def _gauge(
    name: str, help_text: str, labels: list[str], values: Mapping[tuple[str, ...], int]
) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"{_PREFIX}{name}", help_text, labels=labels)
    for key, value in values.items():
        made.add_metric(list(key), value)
    return made
