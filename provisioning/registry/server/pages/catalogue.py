"""The releases of the registry, by the numbers that devices name them with.

Promises: lists that cannot be read are a sentence and no releases; the pages still come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from appliance.sync.release import FormError, Release, reference
from provisioning.registry.book import Book
from provisioning.registry.faults import RegistryFault
from provisioning.registry.publish import made_by, releases
from provisioning.registry.server.room import Room


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What is published.

    Attributes:
        releases: by name and counter.
        fault: why there are none to be read; empty otherwise.
    """

    releases: Sequence[Release]
    by_reference: Mapping[int, Release]
    fault: str = ""

    @classmethod
    def of(cls, here: Room) -> Self:
        """Read the newest list."""
        try:
            found = releases(_book(here))
        except (RegistryFault, FormError) as error:
            return cls(releases=(), by_reference={}, fault=str(error))
        return cls(releases=found, by_reference={reference(one.digest): one for one in found})

    @property
    def usable(self) -> list[Release]:
        """Return what may be rolled out, the newest first."""
        return [one for one in reversed(self.releases) if not one.recalled]

    def number_of(self, release: Release) -> int:
        """Return the number of a release."""
        return reference(release.digest)

    def named(self, number: int) -> str:
        """Return the name and version of a number; the number itself where nothing here has it."""
        found = self.by_reference.get(number)
        return f"{found.name} {found.version}" if found is not None else f"{number:012x}"


def maker_of(here: Room, release: Release) -> str:
    """Return the key that a release's maker named; empty where there is no signature or it cannot be read."""
    try:
        return made_by(_book(here), release)
    except RegistryFault:
        return ""


def _book(here: Room) -> Book:
    return Book(folder=here.setting.folder, clock=here.clock)
