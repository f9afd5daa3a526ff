"""The one way a section of a manifest is read: unknown keys, NaN and later changes are refused."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Read a section of a manifest; frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
