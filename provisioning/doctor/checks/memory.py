"""Memory: what this machine, or the slice that it gives us, has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site

TOO_LITTLE = Fault(
    id="memory.too-little",
    cause="the machine has less memory than the box needs to run a model at all",
    fix="give the machine more memory, or raise the limit it runs under",
    who=Who.TECHNICIAN,
)
PROMISED = Fault(
    id="memory.promised-too-much",
    cause="`memory_gib` in `[inference]` is more than the machine has",
    fix="lower `memory_gib`, or take it out",
    who=Who.TECHNICIAN,
)
LITTLE = Fault(
    id="memory.little",
    cause="the machine has little memory: large series may be refused",
    fix="set `ahead = false` in `[inference]`, or give the machine more memory",
    who=Who.TECHNICIAN,
    grave=False,
)
_GIB = 2**30


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    has = _bytes(site.machine)
    if has is None:
        yield unknown("the kernel does not say how much there is")
        return
    promised = site.read.inference.memory_gib if site.read is not None else None
    on_gpu = site.read is not None and {"tensorrt", "cuda"} & set(site.read.inference.engines)
    said = f"{has / _GIB:.1f} GiB"
    if has < site.limits.memory_gib_min * _GIB:
        yield wrong(TOO_LITTLE, said, bytes=has)
    # With a GPU the bound is of its memory and not of this.
    elif promised is not None and promised * _GIB > has and not on_gpu:
        yield wrong(PROMISED, f"{said}, and {promised:g} GiB are promised", bytes=has)
    elif has < site.limits.memory_easy_gib * _GIB:
        yield wrong(LITTLE, said, bytes=has)
    else:
        yield sound(said, bytes=has)


def _bytes(machine: Machine) -> int | None:
    """Return the smaller of what there is and what the control groups above us allow."""
    told = re.search(r"^MemTotal:\s+(\d+) kB", machine.text("proc/meminfo"), re.MULTILINE)
    if told is None:
        return None
    found = [int(told.group(1)) * 1024]
    group = machine.text("proc/self/cgroup").strip().rpartition("::")[2]
    while group and group != "/":
        limit = machine.number(f"sys/fs/cgroup{group}/memory.max")
        found += [limit] if limit is not None else []
        group = group.rpartition("/")[0]
    return min(found)


CHECK = Check(
    id="memory",
    about="memory",
    look=_look,
    faults=(TOO_LITTLE, PROMISED, LITTLE),
    of_site=False,
)
