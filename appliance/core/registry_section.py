"""[registry]: where a box gets its models from, and by what it knows that they are genuine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from appliance.core.sections import Name, Section

Address = Annotated[
    str, StringConstraints(pattern=r"^((https?://[^\s?#]+)|(file:///[^\s?#]+))?$", max_length=500)
]


class Registry(Section):
    """[registry]: where releases come from.

    Attributes:
        url: the public tree of a registry or a mirror, https://, http:// or file:///; empty: none is asked.
        device: the name that this box was claimed under.
        roots: folder with what the box was given at claim: the roots of both repositories, and its floors.
        every_seconds: how often the registry is asked.
    """

    url: Address = ""
    device: Name | None = None
    roots: Path = Path("/etc/readside/registry")
    every_seconds: Annotated[float, Field(ge=1, le=7 * 86400)] = 300.0

    @model_validator(mode="after")
    def _names_itself(self) -> Self:
        if self.url and self.device is None:
            raise ValueError("registry.device: must be given with registry.url: what this box was claimed as")
        return self
