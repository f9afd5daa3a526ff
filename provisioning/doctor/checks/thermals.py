"""Heat: the machine's own sensors against their limits, and the GPU's reasons for being slow."""

from __future__ import annotations

from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site

HOT = Fault(
    id="thermals.hot",
    cause="the machine is close to the temperature at which it slows down or switches itself off",
    fix="look at fans, dust and the room's cooling",
    who=Who.TECHNICIAN,
)
GPU_HOT = Fault(
    id="thermals.gpu-slowed",
    cause="the GPU slows itself down because it is too hot",
    fix="look at its fan and at the air through the case",
    who=Who.TECHNICIAN,
)
_FOLDER = "sys/class/thermal"
_HARD = ("critical", "hot")
_ASKED = (
    "temperature.gpu,clocks_throttle_reasons.sw_thermal_slowdown,clocks_throttle_reasons.hw_thermal_slowdown"
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    zones = list(_zones(site.machine))
    hot = [
        f"{kind} {degrees:.0f} °C of {most:.0f}"
        for kind, degrees, most in zones
        if most is not None and degrees > most - site.limits.hot_degrees_below_critical
    ]
    gpus = _gpus(site.machine)
    slowed = [degrees for degrees, slow in gpus if slow]
    if hot:
        yield wrong(HOT, "; ".join(hot))
    if slowed:
        yield wrong(GPU_HOT, ", ".join(f"{degrees} °C" for degrees in slowed))
    if hot or slowed:
        return
    if not zones and not gpus:
        yield unknown("the machine shows no sensor")
        return
    hottest = max([degrees for _, degrees, _ in zones] + [float(degrees) for degrees, _ in gpus])
    yield sound(f"{len(zones) + len(gpus)} sensors, the hottest {hottest:.0f} °C", degrees=hottest)


def _zones(machine: Machine) -> Iterator[tuple[str, float, float | None]]:
    """Yield each sensor: its kind, its temperature, and the lowest limit that it has, in degrees Celsius."""
    for name in machine.names(_FOLDER):
        zone = f"{_FOLDER}/{name}"
        now = machine.number(f"{zone}/temp")
        if not name.startswith("thermal_zone") or now is None:
            continue
        limits = [
            machine.number(f"{zone}/trip_point_{number}_temp")
            for number in range(16)
            if machine.text(f"{zone}/trip_point_{number}_type").strip() in _HARD
        ]
        above = [limit / 1000 for limit in limits if limit is not None and limit > 0]
        yield machine.text(f"{zone}/type").strip() or name, now / 1000, min(above, default=None)


def _gpus(machine: Machine) -> list[tuple[int, bool]]:
    """Return the temperature of each GPU and whether heat slows it; none where NVIDIA's program is not."""
    if not machine.text("proc/driver/nvidia/version"):
        return []
    told = machine.say(["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"]) or ""
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
    return [(int(row[0]), "Active" in row[1:]) for row in rows if row and row[0].isdigit()]


CHECK = Check(
    id="thermals", about="temperatures", look=_look, faults=(HOT, GPU_HOT), of_site=False, seconds_max=20.0
)
