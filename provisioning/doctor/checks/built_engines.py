"""What was built for this device: what failed, was refused or ended its process, and is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

from appliance.inference.engine import InferenceError
from appliance.inference.life import CRASHES
from appliance.inference.parity import verdict_of
from appliance.inference.quarantine import Quarantine
from appliance.inference.settings import settings_of
from appliance.inference.sidecar import Sidecar
from appliance.inference.store import EngineStore
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

DAMAGED = Fault(
    id="built-engines.damaged",
    cause="what was built for a model cannot be read any more",
    fix="nothing: it is built anew when it is needed",
    who=Who.TECHNICIAN,
    grave=False,
)
FAILED = Fault(
    id="built-engines.failed",
    cause="an engine could not be built for a model",
    fix="correct the cause; `readside doctor --clear KEY` lets it be tried again",
    who=Who.US,
)
REFUSED = Fault(
    id="built-engines.refused",
    cause="an engine answers otherwise than the processor, so it does not serve",
    fix="keep to another engine; `readside doctor --clear KEY` lets it be built anew",
    who=Who.US,
)
CRASHED = Fault(
    id="built-engines.crashed",
    cause="an engine ended its process more than once and is left alone",
    fix="update the driver or the library; `readside doctor --clear KEY` lets it be tried again",
    who=Who.US,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    settings = settings_of(site.config)
    if settings.store is None or not settings.store.is_dir():
        yield sound("nothing was built")
        return
    store = EngineStore(root=settings.store, limits=settings.limits)
    kept = store.entries() if os.access(settings.store, os.R_OK | os.X_OK) else ()
    found = [finding for key, sidecar in kept if (finding := _built(key[7:19], sidecar)) is not None]
    try:
        crashed = Quarantine(root=settings.store / CRASHES, limits=settings.limits).entries()
    except InferenceError as error:
        found.append(wrong(DAMAGED, error.sentence))
        crashed = ()
    for crashes, quarantined in crashed:
        key, times = crashes.key[7:19], len(crashes.at)
        who = f"{crashes.engine} for {crashes.model}"
        if quarantined:
            found.append(wrong(CRASHED, f"{key}: {who} ended its process {times} times", key=key))
    yield from found or [sound("nothing is left alone")]


def _built(key: str, sidecar: Sidecar | str) -> Finding | None:
    if isinstance(sidecar, str):
        return wrong(DAMAGED, f"{key}: {sidecar}", key=key)
    engine = f"{sidecar.engine} for {sidecar.model}"
    verdict = None if sidecar.verdict is None else verdict_of(sidecar.verdict)
    if sidecar.failure:
        return wrong(FAILED, f"{key}: {engine}: {sidecar.failure}", key=key)
    if verdict is not None and not verdict.ok:
        return wrong(REFUSED, f"{key}: {engine}: {verdict.sentence}", key=key)
    return None


CHECK = Check(
    id="built-engines",
    about="what was built for this device",
    look=_look,
    faults=(DAMAGED, FAILED, REFUSED, CRASHED),
    needs=("storage",),
    seconds_max=30.0,
)
