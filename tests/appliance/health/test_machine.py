"""The machine, read from files as the kernel writes them, and a GPU played by a small program."""

import pytest

from appliance.health.codes import Gpu, Kind
from appliance.health.gpu import gpu_values
from appliance.health.machine import machine_values
from appliance.health.schema import fit


@pytest.fixture
def kernel(tmp_path):
    files = {
        "proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\nMemAvailable:    8192000 kB\n",
        "proc/loadavg": "1.50 1.00 0.50 2/300 12345\n",
        "proc/uptime": "7300.25 100.00\n",
        "sys/class/thermal/thermal_zone0/temp": "45000\n",
        "sys/class/hwmon/hwmon0/temp1_input": "61500\n",
        "sys/class/hwmon/hwmon0/temp2_input": "0\n",
        "sys/class/hwmon/hwmon0/temp3_input": "-274000\n",
        "sys/class/hwmon/hwmon0/temp4_input": "broken\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    return tmp_path


def test_the_kernel_is_read(kernel):
    read = machine_values(kernel, proc=kernel / "proc", sys=kernel / "sys")
    assert read | {"disk_free": 0, "disk_free_percent": 0} == {
        "memory_total": 16_000,
        "memory_free": 8_000,
        "load": 1.5,
        "up": 2,
        "temperature": 61.5,
        "disk_free": 0,
        "disk_free_percent": 0,
    }
    assert 0 <= read["disk_free_percent"] <= 100


def test_what_is_not_there_is_left_out(tmp_path):
    nowhere = tmp_path / "nowhere"
    assert machine_values(nowhere, proc=nowhere, sys=nowhere) == {}


def test_this_machine_fits_the_closed_list(tmp_path):
    read = machine_values(tmp_path)
    assert read["memory_total"] > 0
    assert fit(Kind.MACHINE, read) == (read, 0)


def program(tmp_path, body):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


GOOD = "41, 72.31, 3, 1980, 1024, 143771, 0x0000000000000004, 0, [N/A], 16, 5"


def test_a_gpu_says_how_it_is(tmp_path):
    read = gpu_values(0, program=program(tmp_path, f'echo "$@" > {tmp_path}/asked; echo "{GOOD}"'))
    assert read == {
        "gpu": Gpu.WELL,
        "gpu_temperature": 41.0,
        "gpu_power": 72.31,
        "gpu_busy": 3.0,
        "gpu_clock": 1980,
        "gpu_memory_used": 1024,
        "gpu_memory_total": 143771,
        "gpu_throttle": 4,
        "gpu_ecc_corrected": 0,
        "gpu_link_width": 16,
        "gpu_link_generation": 5,
    }
    assert fit(Kind.MACHINE, read) == (read, 0)
    asked = (tmp_path / "asked").read_text(encoding="ascii")
    assert not {"serial", "uuid", "name"} & set(asked.replace(",", " ").replace(".", " ").split())


@pytest.mark.parametrize(
    "body",
    ["exit 9", "sleep 30", "echo Unable to determine the device handle", "printf '\\377\\376'", "true"],
)
def test_a_gpu_that_does_not_answer_is_an_answer(tmp_path, body):
    assert gpu_values(0, program=program(tmp_path, body), seconds_max=0.5) == {"gpu": Gpu.NO_ANSWER}


def test_a_machine_without_the_program_has_none(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_values(0) == {"gpu": Gpu.NONE}
