"""The GPU, asked through a child process with a deadline: a dying one holds whoever asks it for ever.

`nvidia-smi` is asked where there is one. This has not been verified on hardware: only its documented output
was, and a program that stands in for it.

Promises: asking ends; no answer is an answer, `NO_ANSWER`, and an alarm of its own.
Never: asks for the serial number, the UUID or the name of anything.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

from appliance.health.codes import Gpu

ASK_SECONDS_MAX: Final = 20.0
_PROGRAM: Final = "nvidia-smi"
_BYTES_MAX: Final = 4_096
# nvidia-smi --help-query-gpu: the property, our field, and whether it is a whole number.
_PROPERTIES: Final = (
    ("temperature.gpu", "gpu_temperature", False),
    ("power.draw", "gpu_power", False),
    ("utilization.gpu", "gpu_busy", False),
    ("clocks.sm", "gpu_clock", True),
    ("memory.used", "gpu_memory_used", True),
    ("memory.total", "gpu_memory_total", True),
    ("clocks_throttle_reasons.active", "gpu_throttle", True),
    ("ecc.errors.corrected.volatile.total", "gpu_ecc_corrected", True),
    ("ecc.errors.uncorrected.volatile.total", "gpu_ecc_lost", True),
    ("pcie.link.width.current", "gpu_link_width", True),
    ("pcie.link.gen.current", "gpu_link_generation", True),
)


def gpu_values(
    device: int, *, program: str | None = None, seconds_max: float = ASK_SECONDS_MAX
) -> dict[str, int | float]:
    """Return what a GPU says of itself; `device` is its CUDA ordinal as the site's configuration has it."""
    found = shutil.which(_PROGRAM) if program is None else program
    if found is None:
        return {"gpu": Gpu.NONE}
    asked = ",".join(name for name, _, _ in _PROPERTIES)
    command = [found, f"--query-gpu={asked}", "--format=csv,noheader,nounits", f"--id={device}"]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds_max, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {"gpu": Gpu.NO_ANSWER}
    line = done.stdout[:_BYTES_MAX].decode("ascii", errors="replace").strip()
    cells = [cell.strip() for cell in line.split(",")]
    if done.returncode != 0 or len(cells) != len(_PROPERTIES):
        return {"gpu": Gpu.NO_ANSWER}
    values = {
        field: value
        for cell, (_, field, whole) in zip(cells, _PROPERTIES, strict=True)
        if (value := _value(cell, whole=whole)) is not None
    }
    return {"gpu": Gpu.WELL, **values}


def _value(cell: str, *, whole: bool) -> int | float | None:
    """Read one cell; "[N/A]" and "[Not Supported]" are no value."""
    try:
        if cell.startswith("0x"):
            return int(cell, 16)
        return int(float(cell)) if whole else float(cell)
    except (ValueError, OverflowError):
        return None
