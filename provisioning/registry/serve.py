"""The public tree over HTTP, with byte ranges: nothing else of the registry is reachable.

Promises: only files below `public/` are read; a list is asked for anew each time, a file that is named by its
hash never changes.
Never: writes, signs, or knows who asks. Pages, roles and a database are not built.
"""

from __future__ import annotations

from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from appliance.sync.release import TARGETS
from provisioning.registry.faults import RegistryFault
from provisioning.registry.layout import Layout

_FOR_EVER = "public, max-age=31536000, immutable"
_EACH_TIME = "no-cache"


class _Tree(StaticFiles):
    """Files of the tree, each with how long it may be kept by a cache on the way."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file or a part of it (RFC 9110 section 14)."""
        response = await super().get_response(path, scope)
        named_by_hash = TARGETS in Path(path).parts[1:2]
        response.headers["Cache-Control"] = _FOR_EVER if named_by_hash else _EACH_TIME
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def application(folder: Path) -> FastAPI:
    """Return what serves the registry in a folder.

    Raises:
        RegistryFault: there is none.
    """
    public = Layout(folder=folder).public
    if not public.is_dir():
        raise RegistryFault(f"{folder}: is no registry; make one with `readside registry init`")
    made = FastAPI(title="Readside registry", openapi_url=None, docs_url=None, redoc_url=None)
    made.mount("/", _Tree(directory=public, follow_symlink=False))
    return made


def serve(folder: Path, *, host: str, port: int) -> None:
    """Serve until told to stop."""
    uvicorn.run(application(folder), host=host, port=port, log_level="warning", server_header=False)
