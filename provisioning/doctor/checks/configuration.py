"""The configuration: every fault of the file, and of the routes with the models that they name."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.config import ConfigError
from appliance.routes.table import compile_routes
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

FAULT = Fault(
    id="configuration.fault",
    cause="the configuration, or a route in it, cannot be used as it stands",
    fix="edit the file where the sentence says, then run `readside check-config`",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    faults = site.config_faults or _route_faults(site)
    if not faults:
        config = site.config
        yield sound(f"has no fault: {len(config.peers)} peers, {len(config.routes)} routes")
    yield from (wrong(FAULT, fault) for fault in faults)


def _route_faults(site: Site) -> tuple[str, ...]:
    try:
        compile_routes(site.config)
    except ConfigError as error:
        return tuple(error.faults)
    return ()


CHECK = Check(
    id="configuration",
    about="the configuration and its routes",
    look=_look,
    faults=(FAULT,),
    # A model's files are read and digested to compile a route that names it.
    seconds_max=60.0,
)
