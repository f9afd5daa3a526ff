"""[registry]: where a box gets its models from, and by what it knows that they are genuine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from appliance.core.sections import Name, Section
from appliance.core.windows import Window, window_of

Address = Annotated[
    str, StringConstraints(pattern=r"^((https?://[^\s?#]+)|(file:///[^\s?#]+))?$", max_length=500)
]
Mirror = Annotated[
    str, StringConstraints(pattern=r"^((https?://[^\s?#]+)|(file:///[^\s?#]+))$", max_length=500)
]


def _window(text: str) -> str:
    window_of(text)
    return text


WindowText = Annotated[str, StringConstraints(max_length=64), AfterValidator(_window)]


class Registry(Section):
    """[registry]: where releases come from.

    Attributes:
        url: the public tree of a registry or a mirror, https://, http:// or file:///; empty: none is asked.
        device: the name that this box was claimed under.
        roots: folder with what the box was given at claim: the roots of both repositories, and its floors.
        every_seconds: how often the registry is asked.
        mirrors: copies of the same tree inside the hospital, asked in this order and before `url`.
        bytes_per_second_max: releases are fetched no faster; none: as fast as they come.
        provenance: public keys (PEM files); a release must then carry a signature of who made the model that
            one of them holds good.
        bundles: whether bundles are taken from a stick; not given: where there is no `url`.
        windows: when another version may begin to serve by the clocks of site.time_zone, each written as
            "Mon-Fri 22:00-05:00" or "daily 01:00-04:00"; none given: at once.
        consent: whether a person at the site is asked before another version begins to serve.
        telemetry: which numbers the registry is told; not given: "health" where a registry is named.
    """

    url: Address = ""
    device: Name | None = None
    roots: Path = Path("/etc/readside/registry")
    every_seconds: Annotated[float, Field(ge=1, le=7 * 86400)] = 300.0
    mirrors: Annotated[tuple[Mirror, ...], Field(max_length=8)] = ()
    bytes_per_second_max: Annotated[int, Field(ge=65_536)] | None = None
    provenance: Annotated[tuple[Path, ...], Field(max_length=16)] = ()
    bundles: bool | None = None
    windows: Annotated[tuple[WindowText, ...], Field(max_length=16)] = ()
    consent: bool = False
    telemetry: Literal["off", "health", "health+drift"] | None = None

    @model_validator(mode="after")
    def _names_itself(self) -> Self:
        if self.url and self.device is None:
            raise ValueError("registry.device: must be given with registry.url: what this box was claimed as")
        if self.mirrors and not self.url:
            raise ValueError("registry.mirrors: are copies of registry.url, which is not given")
        return self

    @property
    def opening(self) -> tuple[Window, ...]:
        """Return the windows in which another version may begin to serve."""
        return tuple(window_of(text) for text in self.windows)

    @property
    def takes_bundles(self) -> bool:
        """Say whether a bundle may be imported: where there is a network, only when the site said so."""
        return not self.url if self.bundles is None else self.bundles

    @property
    def told(self) -> Literal["off", "health", "health+drift"]:
        """Return which numbers leave the site; without a registry on the network none can."""
        if not self.url.startswith(("http://", "https://")):
            return "off"
        return "health" if self.telemetry is None else self.telemetry
