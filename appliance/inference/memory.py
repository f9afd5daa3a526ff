"""How much memory there is, of this machine or of a CUDA device, and what loaded models may take of it.

Never: loads a CUDA library. The driver's own management library is asked about a device, which opens no
context on it; where it is missing, the answer is that nothing is known. Asking a device is not verified on
hardware.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
_NVML = "libnvidia-ml.so.1"
_ON_A_DEVICE = frozenset({"cuda", "tensorrt"})


def available_bytes(engines: Iterable[str], device: int) -> int | None:
    """Give what loaded models may still take: of the device when one of the engines runs on it.

    None where the system does not say.
    """
    if _ON_A_DEVICE.intersection(engines):
        free = device_free_bytes(device)
        if free is not None:
            return free
    return machine_available_bytes()


def machine_available_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Give what the kernel could hand out without swapping, within the bound of this process's group."""
    free = _kib_of(meminfo, "MemAvailable")
    ours = _group_available_bytes(cgroup)
    known = [amount for amount in (free, ours) if amount is not None]
    return min(known) if known else None


def machine_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Give all the machine has, within the bound of this process's group; None where it does not say."""
    whole, ours = _kib_of(meminfo, "MemTotal"), _group_bound(cgroup)
    known = [amount for amount in (whole, ours and ours[0]) if amount is not None]
    return min(known) if known else None


def largest_bytes(engines: Collection[str]) -> int | None:
    """Give what no model may exceed where the site sets no bound; None where nothing is known.

    What a device has may be more than the machine has, so where one is used its driver decides at loading.
    """
    if _ON_A_DEVICE.intersection(engines):
        return None
    return machine_bytes()


def private_bytes(pid: int) -> int:
    """Give the memory that only this process holds, no shared libraries or tensors; 0 when it is gone."""
    return _kib_of(Path(f"/proc/{pid}/status"), "RssAnon") or 0


def _group_available_bytes(root: Path) -> int | None:
    group = _group_bound(root)
    return None if group is None else max(group[0] - group[1], 0)


def _group_bound(root: Path) -> tuple[int, int] | None:
    """Read the bound of the control group (version 2) this process is in, and what is used of it."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="ascii").partition("0::")[2].split("\n")[0]
        folder = root / own.lstrip("/")
        bound = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if bound == "max" else (int(bound), used)


def _kib_of(path: Path, key: str) -> int | None:
    """Read one line "Key:   123 kB" of a file of the kernel's, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{key}:")), None)
    return None if found is None else int(found.split()[1]) * _KIB


class _DeviceMemory(ctypes.Structure):
    """NVML's nvmlMemory_t: bytes in all, free and used."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def device_free_bytes(device: int) -> int | None:
    """Ask the NVIDIA driver what is free on a device, by CUDA ordinal; None where there is no such driver.

    The driver's library counts in the order of the bus, CUDA may not: where CUDA_VISIBLE_DEVICES is set, the
    device is taken from it.
    """
    try:
        nvml = ctypes.CDLL(_NVML)
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        handle, memory = ctypes.c_void_p(), _DeviceMemory()
        if _handle(nvml, device, handle) or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
            return None
        return int(memory.free)
    finally:
        nvml.nvmlShutdown()


def _handle(nvml: ctypes.CDLL, device: int, handle: ctypes.c_void_p) -> int:
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if device >= len(visible):
        return int(nvml.nvmlDeviceGetHandleByIndex_v2(device, ctypes.byref(handle)))
    if visible[device].isdigit():
        return int(nvml.nvmlDeviceGetHandleByIndex_v2(int(visible[device]), ctypes.byref(handle)))
    return int(nvml.nvmlDeviceGetHandleByUUID(visible[device].encode(), ctypes.byref(handle)))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all loaded models may hold together.

    Attributes:
        bytes_max: as configured; None: what there is, but for the reserve.
        reserve_bytes: left to everything else where nothing is configured.
        available: asks what there is at this moment; None where nobody knows.
    """

    bytes_max: int | None
    reserve_bytes: int
    available: Callable[[], int | None]

    def room_bytes(self, held_bytes: int, coming_bytes: int) -> int | None:
        """Give what may be loaded now; None where nothing bounds it.

        `held_bytes` is loaded, and gone from what is available; `coming_bytes` is admitted, not loaded.
        """
        if self.bytes_max is not None:
            return self.bytes_max - held_bytes - coming_bytes
        available = self.available()
        return None if available is None else available - self.reserve_bytes - coming_bytes

    def most_bytes(self, held_bytes: int, pinned_bytes: int) -> int | None:
        """Give what one model could have if all that is not pinned were put away."""
        if self.bytes_max is not None:
            return self.bytes_max - pinned_bytes
        room = self.room_bytes(held_bytes, 0)
        return None if room is None else room + held_bytes - pinned_bytes
