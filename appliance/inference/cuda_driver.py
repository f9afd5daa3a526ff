"""Ask NVIDIA's driver what it has, in a child process: a broken driver may take its caller down with it.

Run as a program it prints one JSON object; it imports nothing beyond the standard library. Imported, it
starts that program. What the driver says is taken through its C interface (CUDA Driver API), before any
library that needs a device is loaded.
Not verified on hardware with more than one device, nor on a Jetson.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libcuda.so.1"
_OK = 0
_NO_DEVICE = 100
_MULTIPROCESSORS, _MAJOR, _MINOR, _INTEGRATED = 16, 75, 76, 18
_NAME_BYTES_MAX = 256


@dataclass(frozen=True, kw_only=True)
class Device:
    """One CUDA device.

    Attributes:
        ordinal: its number under CUDA_VISIBLE_DEVICES.
        capability: compute capability, "8.9".
        memory_bytes: all of it, not what is free.
        integrated: it shares its memory with the processor.
        driver: newest CUDA version the driver speaks, "13.0".
        uuid: names this very device, or its slice (MIG).
    """

    ordinal: int
    name: str
    capability: str
    multiprocessors: int
    memory_bytes: int
    integrated: bool
    driver: str
    uuid: str

    def parts(self) -> dict[str, str]:
        """Give what changes an engine that is built for it; a card of the same kind in its place does not."""
        return {
            "device": self.name,
            "compute_capability": self.capability,
            "multiprocessors": str(self.multiprocessors),
            "device_memory_bytes": str(self.memory_bytes),
            "driver": self.driver,
        }


class Asked:
    """Remembers what the driver said of one device: an engine asks anew only when it is probed."""

    def __init__(self, ordinal: int, *, seconds_max: float) -> None:
        self._ordinal, self._seconds_max = ordinal, seconds_max
        self._device: Device | None = None

    def anew(self) -> Device:
        """Ask the driver.

        Raises:
            NoDevice: as `device_at`.
        """
        self._device = None
        self._device = device_at(self._ordinal, seconds_max=self._seconds_max)
        return self._device

    def device(self) -> Device:
        """Give what it said last; ask where it said nothing yet.

        Raises:
            NoDevice: as `device_at`.
        """
        return self._device or self.anew()


class NoDevice(Exception):
    """There is no such device; the text says why, as half a sentence."""


def device_at(ordinal: int, *, seconds_max: float) -> Device:
    """Give a device as the driver describes it.

    Raises:
        NoDevice: no driver, no such device, or the driver did not answer.
    """
    command = [sys.executable, "-I", __file__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoDevice(f"the CUDA driver did not answer within {seconds_max:.0f} seconds") from error
    if done.returncode != 0:
        raise NoDevice(f"the CUDA driver ended the process that asked it ({_ending(done.returncode)})")
    told = json.loads(done.stdout)
    if "reason" in told:
        raise NoDevice(str(told["reason"]))
    devices = [Device(**one) for one in told["devices"]]
    if ordinal >= len(devices):
        raise NoDevice(f"there is no CUDA device {ordinal}; the driver knows {len(devices)}")
    return devices[ordinal]


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _ask() -> dict[str, Any]:
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return {"reason": "no NVIDIA driver is installed"}
    result = int(driver.cuInit(0))
    if result == _NO_DEVICE:
        return {"reason": "the NVIDIA driver found no device"}
    if result != _OK:
        return {"reason": f"the NVIDIA driver could not start (error {result})"}
    count = ctypes.c_int()
    _checked(driver.cuDeviceGetCount(ctypes.byref(count)))
    return {"devices": [_device(driver, ordinal) for ordinal in range(count.value)]}


def _device(driver: ctypes.CDLL, ordinal: int) -> dict[str, Any]:
    device, memory, version = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES_MAX)
    uuid = (ctypes.c_ubyte * 16)()
    _checked(driver.cuDeviceGet(ctypes.byref(device), ordinal))
    _checked(driver.cuDeviceGetName(name, _NAME_BYTES_MAX, device))
    _checked(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    _checked(driver.cuDriverGetVersion(ctypes.byref(version)))
    _checked(driver.cuDeviceGetUuid_v2(ctypes.byref(uuid), device))
    return {
        "ordinal": ordinal,
        "name": name.value.decode(errors="replace"),
        "capability": f"{_attribute(driver, _MAJOR, device)}.{_attribute(driver, _MINOR, device)}",
        "multiprocessors": _attribute(driver, _MULTIPROCESSORS, device),
        "memory_bytes": memory.value,
        "integrated": bool(_attribute(driver, _INTEGRATED, device)),
        "driver": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "uuid": bytes(uuid).hex(),
    }


def _attribute(driver: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _checked(driver.cuDeviceGetAttribute(ctypes.byref(value), which, device))
    return value.value


def _checked(result: int) -> None:
    if result != _OK:
        raise SystemExit(f"the driver answered with error {result}")


if __name__ == "__main__":
    print(json.dumps(_ask()))
