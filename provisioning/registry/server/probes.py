"""For monitoring: alive, ready. Clients on the same machine need no log-in; everybody else does."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from appliance.ledger.reading import LedgerFault
from provisioning.registry.layout import Layout
from provisioning.registry.server.room import Here, Room, Watcher

router = APIRouter(include_in_schema=False, dependencies=[Watcher])


@router.get("/health/live")
def live() -> dict[str, bool]:
    """Say that this process answers."""
    return {"live": True}


@router.get("/health/ready")
def ready(here: Here) -> Response:
    """Say whether the database answers and the tree is there."""
    reasons = _reasons(here)
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


def _reasons(here: Room) -> list[str]:
    said = []
    try:
        with here.database.read() as tx:
            tx.exec_driver_sql("SELECT 1")
    except LedgerFault:
        said.append("The database does not answer.")
    if not Layout(folder=here.setting.folder).public.is_dir():
        said.append("The signed tree is not there.")
    return said
