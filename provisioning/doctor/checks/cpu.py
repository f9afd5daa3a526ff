"""The processor: the instructions that the libraries need, and those that make them fast."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.site import Site

TOO_OLD = Fault(
    id="cpu.too-old",
    cause="the processor, or the virtual one that the host shows, lacks instructions that the libraries need",
    fix="let the host pass its processor through (CPU type `host`), or take another machine",
    who=Who.TECHNICIAN,
)
SLOW = Fault(
    id="cpu.no-vectors",
    cause="the processor shows no AVX2: models on the processor run several times slower",
    fix="let the host pass its processor through (CPU type `host`)",
    who=Who.TECHNICIAN,
    grave=False,
)
# x86-64-v2, which NumPy is built for.
_NEEDED = ("ssse3", "sse4_1", "sse4_2", "popcnt", "cx16")
_FAST = ("avx2", "fma")


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    told = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", site.machine.text("proc/cpuinfo"), re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    if told is None:
        yield unknown(f"{cores} cores; the kernel does not say what they can do")
        return
    has = set(told.group(1).split())
    if "asimd" in has:
        yield sound(f"{cores} cores, {platform.machine()} with asimd", cores=cores)
    elif lacking := [name for name in _NEEDED if name not in has]:
        yield wrong(TOO_OLD, f"{cores} cores without {', '.join(lacking)}", cores=cores)
    elif lacking := [name for name in _FAST if name not in has]:
        yield wrong(SLOW, f"{cores} cores without {', '.join(lacking)}", cores=cores)
    else:
        more = [name for name in ("avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if name in has]
        yield sound(f"{cores} cores with {', '.join([*_FAST, *more])}", cores=cores)


CHECK = Check(id="cpu", about="the processor", look=_look, faults=(TOO_OLD, SLOW), of_site=False)
