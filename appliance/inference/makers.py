"""Which engines there are, how each is made, and what must be known before it is made.

Each lives in a module of its own, which is read only when a site asks for that engine: the libraries beneath
are extras, large, and may be missing.
Never: reads a vendor's library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.settings import EngineSettings

Makers = Mapping[str, Callable[[EngineSettings], Engine]]


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes one kind of engine.

    Attributes:
        reference: where its class is, "module:Class"; a child process finds it by that.
        extra: the extra of this product that brings its libraries; "" when it needs none.
        builds: `build` makes files, slowly; it runs in a child, and what it made is kept.
        fragile: asking its library whether it works here may take the process down; a child asks.
        local: it runs in this box's own processes, so that a crash of it can be told from a lost line.
    """

    reference: str
    extra: str = ""
    builds: bool = False
    fragile: bool = False
    local: bool = True

    def __call__(self, settings: EngineSettings) -> Engine:
        """Make one engine, with nothing loaded.

        Raises:
            InferenceError: inference.no_engine, its module or its library is not on this box.
        """
        try:
            kind = class_of(self.reference)
        except ModuleNotFoundError as error:
            raise InferenceError("inference.no_engine", self._missing()) from error
        made: Engine = kind(settings)
        return made

    def _missing(self) -> str:
        if not self.extra:
            return "is not part of this version."
        return f"is not installed here; install the extra readside[{self.extra}]."


def class_of(reference: str) -> Callable[[EngineSettings], Engine]:
    """Find an engine's class.

    Raises:
        ModuleNotFoundError: there is no such module, or one it needs is not installed.
    """
    module, _, name = reference.partition(":")
    found: Callable[[EngineSettings], Engine] = getattr(import_module(module), name)
    return found


def _cpu(settings: EngineSettings) -> Engine:
    return OnnxRuntimeCpu(settings.limits)


MAKERS: Makers = {
    "cpu": _cpu,
    "openvino": Maker(reference="appliance.inference.openvino:OpenVino", extra="openvino"),
    "cuda": Maker(reference="appliance.inference.cuda:OnnxRuntimeCuda", extra="cuda", fragile=True),
    "tensorrt": Maker(
        reference="appliance.inference.tensorrt:TensorRt", extra="tensorrt", builds=True, fragile=True
    ),
    "kserve": Maker(reference="appliance.inference.kserve:KServe", extra="kserve", local=False),
}


def craft_of(name: str, makers: Makers) -> Maker | None:
    """Say what is known of an engine before it is made; None for one that only a caller knows.

    Makers that a caller wrapped, so that the engine runs in a process of its own, make the same engine.
    """
    made = makers.get(name)
    if isinstance(made, Maker):
        return made
    shipped = MAKERS.get(name)
    return shipped if isinstance(shipped, Maker) else None
