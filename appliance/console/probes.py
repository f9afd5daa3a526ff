"""For monitoring: alive, ready, and the metrics. No identifier of a patient or a study is in any of them.

Clients on the same machine need no log-in; everybody else does.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from appliance.console import snapshot
from appliance.console.room import Here, Room, Watcher
from appliance.ledger.reading import LedgerFault

router = APIRouter(include_in_schema=False, dependencies=[Watcher])


@router.get("/health/live")
def live() -> dict[str, bool]:
    """Say that this process answers."""
    return {"live": True}


@router.get("/health/ready")
def ready(here: Here) -> Response:
    """Say whether the ledger answers and every service was heard a moment ago."""
    reasons = _reasons(here)
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    registry = request.app.state.registry
    assert isinstance(registry, CollectorRegistry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _reasons(here: Room) -> list[str]:
    try:
        beats = snapshot.beats(here.ledger, here.clock, here.limits)
    except LedgerFault:
        return ["The ledger does not answer."]
    if not beats:
        return ["No service was heard yet."]
    silent = [beat for beat in beats if beat.silent]
    return [f"The service {beat.name} was last heard {beat.age_seconds:.0f} seconds ago." for beat in silent]
