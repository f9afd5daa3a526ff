"""The engines of `[inference]`: each asked, in a process of its own, whether it can run here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.cli.packages import settings_here
from appliance.inference.engine import InferenceError
from appliance.inference.makers import MAKERS
from appliance.inference.process import hosted
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

MISSING = Fault(
    id="engines.missing",
    cause="an engine that is configured is not installed, or cannot run on this machine",
    fix="install it as the sentence says, or take it out of `[inference]` engines",
    who=Who.TECHNICIAN,
)


def _look(site: Site, name: str) -> Iterator[Finding]:
    try:
        engine = hosted(MAKERS)[name](settings_here(site.config))
        probe = engine.probe()
    except InferenceError as error:
        yield wrong(MISSING, error.sentence)
        return
    engine.unload()
    if probe.ok:
        site.notes["engines", name] = True
        yield sound("can run here")
    else:
        yield wrong(MISSING, f"not here: {probe.reason}")


def _each(site: Site) -> Sequence[str]:
    return site.config.inference.engines


def here(site: Site) -> Sequence[str]:
    """Return the configured engines that can run here, best first; all where none can."""
    wanted = site.config.inference.engines
    return [name for name in wanted if site.notes.get(("engines", name))] or wanted


CHECK = Check(
    id="engines",
    about="the engine",
    look=_look,
    faults=(MISSING,),
    needs=("configuration",),
    # They would be measured along with the disk.
    after=("disk-speed",),
    each=_each,
    seconds_max=120.0,
)
