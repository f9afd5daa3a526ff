"""The driver is asked in a child process: whatever it does there, this process lives and has a reason."""

from __future__ import annotations

import shutil

import pytest

from appliance.inference.cuda_driver import NoDevice, device_at
from tests.appliance.inference.compiled import shared_library

_DRIVER = """
#include <string.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
int cuInit(unsigned flags) { %s }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device == 40 ? "Paper A" : "Paper B", size); return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8589934592u; return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, device, 16); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 9 : which == 16 ? 46 : 0; return 0;
}
"""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch):
    """Put a driver in the place where the loader looks first."""

    def put(start: str) -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(shared_library("libcuda.so.1", _DRIVER % start)))

    return put


def test_a_device_is_described_as_the_driver_does(driver):
    driver("return 0;")
    device = device_at(1, seconds_max=30)
    assert (device.name, device.capability, device.multiprocessors) == ("Paper B", "8.9", 46)
    assert (device.memory_bytes, device.driver, device.integrated) == (8 * 2**30, "12.6", False)
    assert device.uuid == "29" * 16


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("return 100;", "the NVIDIA driver found no device"),
        ("return 803;", r"the NVIDIA driver could not start \(error 803\)"),
        ("abort();", r"ended the process that asked it \(signal 6\)"),
        ("return *(int *)0;", r"ended the process that asked it \(signal 11\)"),
    ],
)
def test_a_driver_that_will_not_start_is_a_reason(driver, start: str, says: str):
    driver(start)
    with pytest.raises(NoDevice, match=says):
        device_at(0, seconds_max=30)


def test_a_driver_that_hangs_is_a_reason(driver):
    driver("sleep(60); return 0;")
    with pytest.raises(NoDevice, match="did not answer within 1 seconds"):
        device_at(0, seconds_max=1)


def test_an_ordinal_the_driver_does_not_know_is_a_reason(driver):
    driver("return 0;")
    with pytest.raises(NoDevice, match="no CUDA device 2; the driver knows 2"):
        device_at(2, seconds_max=30)


def test_without_a_driver_the_reason_says_so():
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    with pytest.raises(NoDevice, match="no NVIDIA driver is installed"):
        device_at(0, seconds_max=30)
