"""How fast the disk is, and whether its syncs may be what they claim; measured, bounded in bytes and time.

A measurement cannot prove that a sync reaches the disk. One that takes less time than any disk needs shows
that it does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.disk.durable import DiskFault, NoSpace
from appliance.disk.measure import DiskSpeed, measure
from provisioning.doctor.check import Check
from provisioning.doctor.checks.space import FULL
from provisioning.doctor.checks.writable import FAILING
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

TOO_SLOW = Fault(
    id="disk.too-slow",
    cause="the disk is too slow: senders would run into their time-outs",
    fix="look at the disk's health and at what else uses it; a flash disk is what the box is made for",
    who=Who.TECHNICIAN,
)
SLOW = Fault(
    id="disk.slow",
    cause="the disk is slow for what it has to do",
    fix="look at what else uses the disk; a flash disk is what the box is made for",
    who=Who.TECHNICIAN,
    grave=False,
)
DISHONEST = Fault(
    id="disk.sync-too-fast",
    cause="a sync takes less time than any disk needs, so it is not sent to one: a power cut may "
    "take what was acknowledged",
    fix="look for eatmydata, a mount without barriers, or a virtual disk whose host ignores syncs "
    "(cache=unsafe), and switch it off",
    who=Who.TECHNICIAN,
    grave=False,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    try:
        speed = measure(site.root)
    except NoSpace:
        yield wrong(FULL, "the trial found no room")
        return
    except DiskFault as error:
        yield wrong(FAILING, f"the trial could not be written ({type(error).__name__})")
        return
    limits, mib = site.limits, speed.bytes_per_second / 2**20
    facts = {"sync_ms": round(speed.sync_seconds * 1000, 3), "mib_per_second": round(mib)}
    said = _said(speed)
    if speed.sync_seconds > limits.sync_seconds_max or mib < limits.write_mib_per_second_min:
        yield wrong(TOO_SLOW, said, **facts)
    elif speed.sync_seconds < limits.sync_honest_seconds_min:
        yield wrong(DISHONEST, said, **facts)
    elif speed.sync_seconds > limits.sync_slow_seconds or mib < limits.write_slow_mib_per_second:
        yield wrong(SLOW, said, **facts)
    else:
        yield sound(said, **facts)


def _said(speed: DiskSpeed) -> str:
    return (
        f"a small write is durable after {speed.sync_seconds * 1000:.2f} ms (median; the longest took "
        f"{speed.sync_seconds_max * 1000:.1f} ms), a long one "
        f"goes at {speed.bytes_per_second / 2**20:.0f} MiB/s"
    )


CHECK = Check(
    id="disk-speed",
    about="the disk's speed and syncs",
    look=_look,
    faults=(TOO_SLOW, SLOW, DISHONEST, FAILING, FULL),
    needs=("writable",),
    seconds_max=30.0,
)
