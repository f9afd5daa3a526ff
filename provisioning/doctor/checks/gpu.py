"""The GPU: there, with a driver, and the driver's libraries of the same version as its kernel module.

The versions are read from files: a library that does not fit its module may take its caller down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site

MISSING = Fault(
    id="gpu.missing",
    cause="an engine that needs a GPU is configured, and the machine shows none",
    fix="look whether the card sits and has power, or whether the host passes it through; or take the engine "
    "out of `[inference]` engines",
    who=Who.TECHNICIAN,
)
NO_DRIVER = Fault(
    id="gpu.no-driver",
    cause="the machine has an NVIDIA device, and its kernel module is not loaded",
    fix="install the driver of this release and restart the machine; `dmesg` tells why one does not load",
    who=Who.TECHNICIAN,
)
MISMATCH = Fault(
    id="gpu.driver-mismatch",
    cause="the driver's libraries are of another version than the kernel module that is loaded",
    fix="restart the machine, and keep automatic updates from the nvidia packages",
    who=Who.TECHNICIAN,
)
IDLE = Fault(
    id="gpu.not-used",
    cause="the machine has a GPU that works, and no engine is configured that uses it",
    fix='put "tensorrt" or "cuda" in front in `[inference]` engines; `--hardware-selftest` tries them',
    who=Who.TECHNICIAN,
    grave=False,
)
_NVIDIA = "0x10de"
_DISPLAY = "0x03"
_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/local/nvidia/lib64",
)
_INNER = ("", "/nvidia", "/nvidia/current")
_MODULE = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)\s")
_LIBRARIES = re.compile(r"lib(?:nvidia-ml|cuda)\.so\.(\d+\.\d+(?:\.\d+)?)")


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    engines = () if site.read is None else site.read.inference.engines
    wanted = [name for name in engines if name in ("tensorrt", "cuda")]
    module, devices = _module(site.machine), _devices(site.machine)
    libraries = _libraries(site.machine)
    if not module and not devices:
        if wanted:
            yield wrong(MISSING, f"{' and '.join(wanted)} configured; no NVIDIA device, no driver")
        else:
            yield sound("none is here, and none is configured")
    elif not module:
        yield wrong(NO_DRIVER, f"{devices} devices on the bus, no kernel module")
    elif libraries and module not in libraries:
        yield wrong(MISMATCH, f"kernel module {module}, libraries {', '.join(sorted(libraries))}")
    elif not libraries:
        yield unknown(f"kernel module {module}; its libraries were not found where they are looked for")
    elif site.read is not None and not wanted:
        yield wrong(IDLE, f"driver {module}, and the engines are {', '.join(engines)}")
    else:
        yield sound(f"driver {module}, its libraries match", driver=module)


def _module(machine: Machine) -> str:
    """Return the version of the kernel module that is loaded; "" when none is."""
    told = _MODULE.search(machine.text("proc/driver/nvidia/version"))
    return told.group(1) if told else ""


def _devices(machine: Machine) -> int:
    """Count NVIDIA's display and compute devices on the bus."""
    folder = "sys/bus/pci/devices"
    return sum(
        machine.text(f"{folder}/{name}/vendor").strip() == _NVIDIA
        and machine.text(f"{folder}/{name}/class").startswith(_DISPLAY)
        for name in machine.names(folder)
    )


def _libraries(machine: Machine) -> set[str]:
    """Return the versions of the libraries that a program would be given."""
    found: set[str] = set()
    for folder in (f"{place}{inner}" for place in _FOLDERS for inner in _INNER):
        for name in ("libnvidia-ml.so.1", "libcuda.so.1"):
            link = machine.path(f"{folder}/{name}")
            if link.exists() and (told := _LIBRARIES.fullmatch(Path(link).resolve().name)):
                found.add(told.group(1))
    return found


CHECK = Check(
    id="gpu",
    about="the GPU and its driver",
    look=_look,
    faults=(MISSING, NO_DRIVER, MISMATCH, IDLE),
    of_site=False,
)
