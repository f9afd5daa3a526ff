"""What a server offers for a package: a model that fits it, one that may be loaded, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from appliance.inference.kserve.contract import config_differences, differences, folder_of, version_on
from appliance.inference.kserve.servers import NoOffer
from appliance.inference.kserve.wire import Wire, WireFault
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import OnnxFile
from models.package import Package

_CONFIGURATION = "model_configuration"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model that is ready on a server, and whose tensors are the package's.

    Attributes:
        server: the server's name and version.
        version: of the model, the repository's folder; "" where the server numbers nothing.
        platform: what runs the model there, in the server's words.
    """

    server: str
    model: str
    version: str
    platform: str

    @property
    def parts(self) -> dict[str, str]:
        """Return it by name."""
        return dict(vars(self))


def offer_of(wire: Wire, package: Package, network: OnnxFile, *, limits: InferenceLimits) -> Offer:
    """Ask a server for a package's model; have it load the model when it has not.

    Raises:
        NoOffer: it is not live, has no such model, or has another under that name.
        WireFault: it does not answer.
    """
    seconds, name = limits.kserve_control_seconds_max, package.manifest.name
    if not wire.live(seconds=seconds):
        raise NoOffer("it is not live")
    server, model = wire.server(seconds=seconds), _loaded(wire, package, limits)
    version, fault = version_on(_texts(model.get("versions")), package.manifest.version)
    if fault:
        raise NoOffer(f"its model {name} {fault}")
    faults = differences(network, model)
    if _CONFIGURATION in _texts(server.get("extensions")):
        faults += config_differences(package, wire.config(name, version, seconds=seconds), version)
    if faults:
        raise NoOffer(f"its model {name} is not the package's: {'; '.join(faults)}")
    platform = str(model.get("platform", ""))[:64]
    return Offer(server=_server_text(server), model=name, version=version, platform=platform)


def _loaded(wire: Wire, package: Package, limits: InferenceLimits) -> Mapping[str, Any]:
    """Return the metadata of a package's model, which is loaded if it was not, or not in this version."""
    seconds, name = limits.kserve_control_seconds_max, package.manifest.name
    if not wire.model_ready(name, seconds=seconds):
        _load(wire, name, limits)
        return wire.model(name, "", seconds=seconds)
    model = wire.model(name, "", seconds=seconds)
    if folder_of(package.manifest.version) in _texts(model.get("versions")):
        return model
    # The version may have come into the repository since; a server that will not look keeps what it has.
    with suppress(WireFault):
        wire.load_model(name, seconds=limits.kserve_load_seconds_max)
    return wire.model(name, "", seconds=seconds)


def _load(wire: Wire, name: str, limits: InferenceLimits) -> None:
    try:
        wire.load_model(name, seconds=limits.kserve_load_seconds_max)
    except WireFault as fault:
        raise NoOffer(
            f"the model {name} is not loaded there, and asked to load it: {fault.sentence}; "
            "its own log says why"
        ) from fault
    if not wire.model_ready(name, seconds=limits.kserve_control_seconds_max):
        raise NoOffer(f"the model {name} is not ready there")


def _server_text(said: Mapping[str, Any]) -> str:
    name, version = str(said.get("name", "server"))[:64], str(said.get("version", ""))[:64]
    return f"{name[:1].upper()}{name[1:]} {version}".strip()


def _texts(listed: Any) -> Sequence[str]:
    return [str(one) for one in listed] if isinstance(listed, list) else []
