"""What is examined: a configuration, the machine, and what the checks of one examination learn on the way.

Never: changes the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from appliance.core.config import Config, ConfigError, Peer, load
from appliance.outbox.asking import destinations
from appliance.services.stage import living
from provisioning.doctor.limits import LIMITS, DoctorLimits
from provisioning.doctor.machine import MACHINE, Machine

LISTENER = "listener"


@dataclass(kw_only=True)
class Site:
    """One installation.

    Attributes:
        path: its configuration's file; None where only the program and the machine are looked at.
        read: the configuration; None where there is none or it has faults.
        config_faults: one sentence for each fault of it.
        ntp: the time server to ask, host or host:port; "" for those that the machine itself asks.
        notes: what one check learned and another uses, under (check, subject); each key has one writer, which
            has ended before a reader begins.
    """

    path: Path | None = None
    read: Config | None = None
    config_faults: tuple[str, ...] = ()
    ntp: str = ""
    machine: Machine = MACHINE
    limits: DoctorLimits = LIMITS
    notes: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path | None, *, ntp: str = "") -> Self:
        """Read the configuration, and keep its faults for the check that tells of them."""
        if path is None:
            return cls(ntp=ntp)
        try:
            return cls(path=path, read=load(path), ntp=ntp)
        except ConfigError as error:
            return cls(path=path, config_faults=tuple(error.faults), ntp=ntp)

    @property
    def config(self) -> Config:
        """Return the configuration; only checks that stand on a sound one ask."""
        assert self.read is not None, "a check of a site needs `configuration`"
        return self.read

    @property
    def root(self) -> Path:
        """Return the storage root."""
        return self.config.storage.root

    def peer(self, name: str) -> Peer:
        """Return a peer by its name."""
        return self.config.peer(name)

    def runs(self, service: str) -> bool:
        """Say whether a service of this box runs on this machine now, as far as this user may see."""
        try:
            return living(self.config.run_dir, service) is not None
        except OSError:
            return False


def peers(site: Site) -> list[str]:
    """Return the peers that have a DICOM address."""
    return [peer.name for peer in site.config.peers if peer.reachable and peer.dicomweb is None]


def registries(site: Site) -> list[str]:
    """Return the addresses that releases are fetched from, in the order in which the box asks."""
    registry = site.config.registry
    return [*registry.mirrors, *([registry.url] if registry.url else [])]


def destinations_of(site: Site) -> list[str]:
    """Return the peers that a route sends results to by C-STORE."""
    return [peer.name for peer in destinations(site.config)]
