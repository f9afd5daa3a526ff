"""The registry's server as one ASGI application; `provisioning.registry.server.run` serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from appliance.console.forms import FormKey
from appliance.console.guard import Guard
from appliance.console.limits import Limits as ConsoleLimits
from provisioning.registry.database.engine import open_database
from provisioning.registry.server import api, est, faults, probes, tree
from provisioning.registry.server.access import Doorkeeper
from provisioning.registry.server.room import Room
from provisioning.registry.server.setting import Setting

# A new part of the server is a module with a `router`, named here.
PARTS = (probes, api, est)


def application(setting: Setting) -> FastAPI:
    """Make the server: the signed tree, the devices' API, the API for people, probes and metrics.

    Raises:
        RegistryFault: there is no registry in the folder, or its database cannot be opened.
    """
    # No interactive documentation: it would load its code from another machine.
    app = FastAPI(
        title="Readside registry",
        version=version("readside"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_life,
    )
    tree.mount(app, setting.folder)
    database = open_database(setting.database_url, clock=setting.clock)
    app.state.room = Room(
        setting=setting,
        database=database,
        doorkeeper=Doorkeeper(database, setting.clock, setting.limits),
        form_key=FormKey(),
    )
    for part in PARTS:
        app.include_router(part.router)
    faults.install(app)
    limits = setting.limits
    app.add_middleware(
        Guard,
        limits=ConsoleLimits(body_bytes_max=limits.body_bytes_max, body_seconds_max=limits.body_seconds_max),
    )
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Keep what runs beside the requests running for as long as the server does."""
    room: Room = app.state.room
    try:
        yield
    finally:
        room.database.close()
