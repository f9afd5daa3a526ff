"""The public tree over HTTP, with byte ranges: nothing else of the registry is reachable through it.

Promises: only files below `public/` are read; a list is asked for anew each time, a file that is named by its
hash never changes.
Never: writes, signs, or knows who asks.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from appliance.sync.release import DIRECTOR, IMAGE, TARGETS
from provisioning.registry.faults import RegistryFault
from provisioning.registry.layout import Layout

_FOR_EVER = "public, max-age=31536000, immutable"
_EACH_TIME = "no-cache"


class _Repository(StaticFiles):
    """Files of one repository, each with how long it may be kept by a cache on the way."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file or a part of it (RFC 9110 section 14)."""
        response = await super().get_response(path, scope)
        named_by_hash = TARGETS in Path(path).parts[:1]
        response.headers["Cache-Control"] = _FOR_EVER if named_by_hash else _EACH_TIME
        return response


def mount(app: FastAPI, folder: Path) -> None:
    """Let an application serve the tree of the registry in a folder.

    Raises:
        RegistryFault: there is none.
    """
    public = Layout(folder=folder).public
    if not public.is_dir():
        raise RegistryFault(f"{folder}: is no registry; make one with `readside registry init`")
    for repository in (IMAGE, DIRECTOR):
        app.mount(f"/{repository}", _Repository(directory=public / repository, follow_symlink=False))
