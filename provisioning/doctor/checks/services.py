"""The services: all of a box's run, or none does; and the units that run them, where systemd is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from appliance.core.clock import SYSTEM
from appliance.services.run import NAMES, SYNC
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site

MISSING = Fault(
    id="services.missing",
    cause="some services of the box run and others do not",
    fix="look into the log for why it ends: `journalctl -u 'readside*'`; the others keep what they hold",
    who=Who.TECHNICIAN,
)
FAILED = Fault(
    id="services.unit-failed",
    cause="a unit of the box has failed, and systemd does not start it again",
    fix="`systemctl status` on the unit tells why; then `systemctl reset-failed` and start the target",
    who=Who.TECHNICIAN,
)
STOPPED = Fault(
    id="services.stopped",
    cause="the box does not run",
    fix="start it: `systemctl start readside.target`, or `readside run`",
    who=Who.TECHNICIAN,
    grave=False,
)
_UNITS: Final = "readside*"
_LOOK_SECONDS: Final = 0.2


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    names = (*NAMES, SYNC) if site.config.registry.url else NAMES
    living = _living(site, names)
    failed = _failed(site.machine)
    if failed:
        yield wrong(FAILED, ", ".join(failed))
    elif not living:
        yield wrong(STOPPED, "no service of it runs on this machine")
    elif lacking := [name for name in names if name not in living]:
        yield wrong(MISSING, f"{', '.join(lacking)}, while {len(living)} others run")
    else:
        yield sound(f"{len(living)} services run")


def _living(site: Site, names: Sequence[str]) -> list[str]:
    """Return the services that run; where some do, the others have a moment to come up."""
    until = SYSTEM.elapsed() + site.limits.start_seconds_max
    while True:
        living = [name for name in names if site.runs(name)]
        if len(living) in (0, len(names)) or SYSTEM.elapsed() > until:
            return living
        time.sleep(_LOOK_SECONDS)


def _failed(machine: Machine) -> list[str]:
    """Return the units of the box that have failed; none where there is no systemd."""
    if not machine.path("run/systemd/system").is_dir():
        return []
    listed = machine.say(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--state=failed", _UNITS]
    )
    return [line.split()[0] for line in (listed or "").splitlines() if line.strip()]


def is_stopped(site: Site) -> Finding | None:
    """Say that something was not looked at because the listener does not run; None when it runs."""
    if site.runs("listener"):
        return None
    return not_looked_at("the listener of this box does not run", because=STOPPED.id)


CHECK = Check(
    id="services",
    about="the services",
    look=_look,
    faults=(MISSING, FAILED, STOPPED),
    needs=("storage",),
    seconds_max=30.0,
)
