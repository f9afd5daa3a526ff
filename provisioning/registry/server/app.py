"""The registry's server as one ASGI application; `provisioning.registry.server.run` serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI

from appliance.console.forms import FormKey
from appliance.console.guard import Guard
from appliance.console.limits import Limits as ConsoleLimits
from provisioning.registry.database.engine import open_database
from provisioning.registry.server import (
    alarms,
    api,
    claims,
    est,
    faults,
    keeping,
    metrics,
    notices,
    probes,
    rollouts,
    stamping,
    tree,
)
from provisioning.registry.server.access import Doorkeeper
from provisioning.registry.server.device import Devices, Keys
from provisioning.registry.server.duties import Duties, Duty
from provisioning.registry.server.intake import Intake
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.pages import browse, door, frame, steer
from provisioning.registry.server.room import Room
from provisioning.registry.server.setting import Setting
from provisioning.registry.server.versions import Versions

# What one process of several does; each may add a line.
DUTIES = (
    Duty(name="look", every_seconds=DEFAULT.alarm_every_seconds, work=alarms.look),
    Duty(name="tell", every_seconds=0.0, work=notices.tell),
    Duty(name="age out", every_seconds=DEFAULT.aged_every_seconds, work=keeping.age_out),
    Duty(name="roll out", every_seconds=0.0, work=rollouts.carry_out),
    Duty(name="stamp", every_seconds=0.0, work=stamping.stamp),
)
# A new part of the server is a module with a `router`, named here.
PARTS = (probes, metrics, api, claims, est, rollouts, door, browse, steer)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What takes the devices' batches."""

    keys: Keys
    intake: Intake
    versions: Versions


def application(setting: Setting) -> FastAPI:
    """Make the server: the signed tree, the devices' API, API and pages for people, probes and metrics.

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
    database, limits = open_database(setting.database_url, clock=setting.clock), setting.limits
    parts = app.state.parts = _Parts(
        keys=Keys(database, limits),
        intake=Intake(database=database, clock=setting.clock, limits=limits),
        versions=Versions(setting.folder, setting.clock, limits.versions_seconds),
    )
    app.state.room = Room(
        setting=setting,
        database=database,
        doorkeeper=Doorkeeper(database, setting.clock, setting.limits),
        form_key=FormKey(),
    )
    for part in PARTS:
        app.include_router(part.router)
    faults.install(app, frame.fault)
    app.add_middleware(
        Guard,
        limits=ConsoleLimits(body_bytes_max=limits.body_bytes_max, body_seconds_max=limits.body_seconds_max),
    )
    # Outermost: what comes from devices passes nothing else.
    app.add_middleware(
        Devices,
        keys=parts.keys,
        intake=parts.intake,
        versions=parts.versions,
        clock=setting.clock,
        limits=limits,
    )
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Keep what runs beside the requests running for as long as the server does."""
    room: Room = app.state.room
    parts: _Parts = app.state.parts
    duties = Duties(room, DUTIES)
    await asyncio.to_thread(parts.keys.load)
    parts.intake.start()
    duties.start()
    try:
        yield
    finally:
        await asyncio.to_thread(duties.stop)
        await asyncio.to_thread(parts.intake.stop)
        room.database.close()
