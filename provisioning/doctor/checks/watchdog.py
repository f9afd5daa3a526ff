"""The watchdogs: systemd over the services, and the machine's own over systemd."""

from __future__ import annotations

from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site

NO_UNIT = Fault(
    id="watchdog.units-without",
    cause="a unit of the box runs without a watchdog: a service that hangs is not started again",
    fix="use the units that this version brings, and take overrides of WatchdogSec away",
    who=Who.TECHNICIAN,
    grave=False,
)
NO_MACHINE = Fault(
    id="watchdog.machine-without",
    cause="the machine has a watchdog, and systemd does not use it: a machine that hangs stays so",
    fix="set RuntimeWatchdogSec=60 in /etc/systemd/system.conf",
    who=Who.TECHNICIAN,
    grave=False,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    machine = site.machine
    if not machine.path("run/systemd/system").is_dir():
        yield unknown("there is no systemd here to watch over the box")
        return
    without = _units_without(machine)
    if without is None:
        yield unknown("no service of the box runs under systemd")
    elif without:
        yield wrong(NO_UNIT, ", ".join(without))
    elif machine.path("dev/watchdog0").exists() and _runtime(machine) in ("0", "infinity"):
        yield wrong(NO_MACHINE, "/dev/watchdog0 is there, RuntimeWatchdogUSec is 0")
    else:
        yield sound("systemd watches over every service that runs")


def _units_without(machine: Machine) -> list[str] | None:
    """Return the running services of the box without a watchdog; None when none runs under systemd."""
    told = machine.say(["systemctl", "show", "--property=Id,Type,SubState,WatchdogUSec", "readside*.service"])
    units = [
        dict(line.partition("=")[::2] for line in block.splitlines())
        for block in (told or "").strip().split("\n\n")
    ]
    running = [unit for unit in units if unit.get("SubState") == "running"]
    if not running:
        return None
    return [unit.get("Id", "") for unit in running if unit.get("WatchdogUSec") in ("0", "infinity", None)]


def _runtime(machine: Machine) -> str:
    return (machine.say(["systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"]) or "").strip()


CHECK = Check(
    id="watchdog",
    about="the watchdogs",
    look=_look,
    faults=(NO_UNIT, NO_MACHINE),
    of_site=False,
    seconds_max=20.0,
)
