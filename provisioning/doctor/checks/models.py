"""The models: each package is whole, and proven here: its golden cases agree on the engine that serves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.cli.packages import packages_of, settings_here
from appliance.inference.choose import open_now
from appliance.inference.engine import InferenceError
from appliance.inference.makers import MAKERS
from appliance.inference.process import hosted
from appliance.inference.settings import EngineSettings
from models.package import Package
from provisioning.doctor.check import Check
from provisioning.doctor.checks.engines import here
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

DAMAGED = Fault(
    id="models.damaged",
    cause="a model's files were changed since it was installed",
    fix="install it again from its package: `readside model install PACKAGE`",
    who=Who.TECHNICIAN,
)
BROKEN = Fault(
    id="models.broken",
    cause="a model's package cannot be used",
    fix="`readside model check FOLDER` tells all that is wrong with it; have it published anew",
    who=Who.US,
)
UNPROVEN = Fault(
    id="models.unproven",
    cause="no engine here gives the answers that the model was published with, so it does not serve",
    fix="correct the engines under `[inference]`; where the processor disagrees too, the package is at fault",
    who=Who.US,
)
LESSER = Fault(
    id="models.lesser-engine",
    cause="a better engine than the one that serves a model failed with it",
    fix="correct what keeps the better engine from this model, or take it out of `[inference]` engines",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    config = site.read
    packages, faults = packages_of(config)
    for fault in faults:
        yield wrong(DAMAGED if "as installed" in fault else BROKEN, fault)
    engines: Sequence[str] = ("cpu",) if config is None else here(site)
    settings = EngineSettings() if config is None else settings_here(config)
    for package in packages.values():
        yield _model(package, engines, settings)


def _model(package: Package, engines: Sequence[str], settings: EngineSettings) -> Finding:
    """Open a model as the worker does, and say on which engine its golden cases agree."""
    name = package.manifest.name
    try:
        opened = open_now(package, engines, settings=settings, makers=hosted(MAKERS))
    except InferenceError as error:
        return wrong(UNPROVEN, f"{name}: {error.sentence}", model=name)
    text = opened.engine.provenance().text
    opened.engine.unload()
    if opened.upgrade is None and opened.stepped_down is not None:
        return wrong(LESSER, f"{name}: {opened.stepped_down}", model=name)
    on = opened.stepped_down or f"on {text}"
    return sound(f"{name}: its golden cases agree {on}", model=name)


CHECK = Check(
    id="models",
    about="the models",
    look=_look,
    faults=(DAMAGED, BROKEN, UNPROVEN, LESSER),
    after=("engines", "ledger", "configuration"),
    of_site=False,
    seconds_max=600.0,
)
