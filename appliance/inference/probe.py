"""Ask whether an engine can run on this machine, in a child process where asking may take the process down.

Libraries of devices have been seen to end their process when the device is missing. The answer is kept for as
long as this process runs: a driver is changed under no running worker.
"""

from __future__ import annotations

from appliance.inference.apart import Bounds, EndedApart, run_apart, settings_apart
from appliance.inference.engine import Engine, Probe
from appliance.inference.makers import Maker
from appliance.inference.settings import EngineSettings

_answers: dict[tuple[str, int], Probe] = {}


def probe(engine: Engine, craft: Maker | None, settings: EngineSettings, *, hosted: bool) -> Probe:
    """Say whether an engine can run here. `hosted`: it lives in a process of its own already."""
    if craft is None or not craft.fragile or hosted:
        return engine.probe()
    asked = (craft.reference, settings.device)
    if asked not in _answers:
        _answers[asked] = _apart(craft, settings)
    return _answers[asked]


def _apart(craft: Maker, settings: EngineSettings) -> Probe:
    limits = settings.limits
    task = {"do": "probe", "engine": craft.reference, "settings": settings_apart(settings)}
    bounds = Bounds(seconds_max=limits.probe_seconds_max, memory_bytes_max=limits.build_memory_bytes_max)
    try:
        answer = run_apart(task, bounds)
    except EndedApart as error:
        return Probe(ok=False, reason=f"asking for its device failed: {error}".rstrip("."))
    return Probe(ok=answer.get("ok") is True, reason=str(answer.get("reason", "")))
