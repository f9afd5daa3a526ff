"""`/api/v1` for people and their programs: by session or HTTP basic, with roles; errors are sentences."""

from __future__ import annotations

from fastapi import APIRouter

from provisioning.registry.server.room import Viewer

router = APIRouter(prefix="/api/v1", tags=["Registry"])


@router.get("/me")
def me(who: Viewer) -> dict[str, str]:
    """Return who asks, and what changes must carry in the header X-CSRF-Token when they come by session."""
    return {"name": who.name, "role": who.role.value, "csrf": who.csrf if who.session else ""}
