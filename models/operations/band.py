"""A threshold and the band around it where the author does not trust the model."""

from typing import Annotated

from pydantic import Field

from models.findings import Verdict

Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Band = tuple[Share, Share]


def verdict_of(probability: float, threshold: float, abstain: Band | None) -> Verdict:
    """Say on which side a probability lies; the band is [low, high)."""
    if abstain is not None and abstain[0] <= probability < abstain[1]:
        return Verdict.ABSTAINED
    return Verdict.PRESENT if probability >= threshold else Verdict.ABSENT


def band_fault(threshold: float, abstain: Band | None) -> str | None:
    """Say what is wrong with a band; None when it is one."""
    if abstain is None:
        return None
    low, high = abstain
    if low <= threshold <= high and 0 < low < high:
        return None
    return f"is [{low}, {high}]; it must rise, begin above 0 and hold the threshold ({threshold})"
