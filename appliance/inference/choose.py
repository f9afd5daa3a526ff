"""Open the best engine that can serve a model here, and say which better ones were passed over, and why.

Stepping down is allowed and never silent: the sentence goes into the result itself.
Promises: an engine that must be built first never keeps a study waiting; the next best serves until it has
been built, loaded and judged, and only then may it take over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.inference.engine import BuildProgress, Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.life import Life, NotBuilt
from appliance.inference.limits import InferenceLimits
from appliance.inference.makers import MAKERS, Maker, Makers, craft_of
from appliance.inference.settings import EngineSettings
from models.package import Package

__all__ = ["MAKERS", "Maker", "Makers", "Opened", "Upgrade", "open_engine", "open_now"]

_BEING_BUILT = "is being built, and takes over when it has been checked."

Upgrade = Callable[[], tuple[Engine | None, str | None]]
"""Do the slow part: build, load and judge the better engines, best first.

Returns the one that may take over, loaded, and its sentence; or None, with the sentence that from now on
holds for the engine that serves already. Never raises InferenceError.
"""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A loaded engine, why no better one runs, and how a better one may be had later, if there is one.

    Attributes:
        upgrade: builds the better engines; called once.
        again: asks the remote engines that were passed over whether they are back; called now and then.
    """

    engine: Engine
    stepped_down: str | None
    upgrade: Upgrade | None = None
    again: Upgrade | None = None


def open_engine(
    package: Package,
    wanted: Sequence[str],
    *,
    settings: EngineSettings | None = None,
    gate: GoldenGate | None = None,
    makers: Makers = MAKERS,
    limits: InferenceLimits | None = None,
    progress: BuildProgress | None = None,
) -> tuple[Engine, str | None]:
    """Load the first wanted engine that agrees with the model's golden cases; builds it first where it must.

    Returns it, and a sentence on the engines that were passed over; None when the first one serves.
    A `gate` that lives longer than the call remembers its verdicts. `limits` stands for plain settings.

    Raises:
        InferenceError: inference.no_engine, none of the wanted engines can serve; every reason is given.
    """
    settings = settings or EngineSettings(limits=limits or InferenceLimits())
    life = _life(package, settings, gate, makers, progress)
    opened = _first(life, wanted, may_build=True)
    return opened.engine, opened.stepped_down


def open_now(
    package: Package,
    wanted: Sequence[str],
    *,
    settings: EngineSettings,
    gate: GoldenGate | None = None,
    makers: Makers = MAKERS,
    progress: BuildProgress | None = None,
) -> Opened:
    """Load the first wanted engine that can serve without being built, and offer the better ones for later.

    When every engine must be built first, the first is built now: nothing could serve before.

    Raises:
        InferenceError: inference.no_engine, none of the wanted engines can serve; every reason is given.
    """
    life = _life(package, settings, gate, makers, progress)
    try:
        return _first(life, wanted, may_build=False)
    except _NoneServes as error:
        if not error.to_build:
            raise
        return _first(life, wanted, may_build=True)


def _life(
    package: Package,
    settings: EngineSettings,
    gate: GoldenGate | None,
    makers: Makers,
    progress: BuildProgress | None,
) -> Life:
    gate = gate or GoldenGate(limits=settings.limits)
    return Life(package=package, settings=settings, gate=gate, makers=makers, progress=progress)


def _first(life: Life, wanted: Sequence[str], *, may_build: bool) -> Opened:
    passed_over: dict[str, str] = {}
    to_build: list[str] = []
    remote: list[str] = []
    for name in wanted:
        try:
            engine = life.serving(name, may_build=may_build)
        except NotBuilt:
            to_build.append(name)
            passed_over[name] = _BEING_BUILT
        except InferenceError as error:
            passed_over[name] = error.sentence
            craft = craft_of(name, life.makers)
            remote += [name] if craft is not None and not craft.local else []
        else:
            return Opened(
                engine=engine,
                stepped_down=_stepped_down(engine, passed_over),
                upgrade=_upgrade(life, to_build, passed_over, engine) if to_build else None,
                again=_upgrade(life, remote, passed_over, engine) if remote and not to_build else None,
            )
    raise _NoneServes(passed_over, to_build)


class _NoneServes(InferenceError):
    """No engine can serve as it is; some could perhaps after a build."""

    def __init__(self, passed_over: Mapping[str, str], to_build: Sequence[str]) -> None:
        reasons = _listed(passed_over) or "No engine is configured."
        super().__init__("inference.no_engine", f"No engine can run the model here. {reasons}")
        self.to_build = tuple(to_build)


def _upgrade(life: Life, to_build: Sequence[str], passed_over: Mapping[str, str], serving: Engine) -> Upgrade:
    names, reasons = list(to_build), dict(passed_over)

    def upgrade() -> tuple[Engine | None, str | None]:
        for name in names:
            try:
                engine = life.serving(name)
            except InferenceError as error:
                reasons[name] = error.sentence
                continue
            better = list(reasons)[: list(reasons).index(name)]
            return engine, _stepped_down(engine, {one: reasons[one] for one in better})
        return None, _stepped_down(serving, reasons)

    return upgrade


def _listed(passed_over: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {why}" for name, why in passed_over.items())


def _stepped_down(engine: Engine, passed_over: Mapping[str, str]) -> str | None:
    if not passed_over:
        return None
    return f"{engine.provenance().text} was used. Passed over: {_listed(passed_over)}"
