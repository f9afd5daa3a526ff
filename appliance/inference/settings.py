"""What every engine is made with: bounds, the device, where built engines are kept, remote servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from appliance.core.config import Config
from appliance.inference.limits import InferenceLimits


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """One engine's surroundings.

    Attributes:
        limits: every bound.
        store: folder of built engines; None keeps nothing that was built.
        device: CUDA ordinal, for engines that run on one.
        memory_bytes_max: what all loaded models of a device may hold together; None: what the device has.
        kserve_urls: servers of the Open Inference Protocol, http:// or grpc://, tried in order.
    """

    limits: InferenceLimits = field(default_factory=InferenceLimits)
    store: Path | None = None
    device: int = 0
    memory_bytes_max: int | None = None
    kserve_urls: tuple[str, ...] = ()


def settings_of(config: Config) -> EngineSettings:
    """Read the settings out of a site's configuration."""
    section = config.inference
    return EngineSettings(
        limits=InferenceLimits(threads_max=section.threads),
        store=config.storage.root / "engines",
        device=section.devices[0],
        memory_bytes_max=None if section.memory_gib is None else int(section.memory_gib * 2**30),
        kserve_urls=section.kserve,
    )
