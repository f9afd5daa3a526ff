"""What one interpreting step adds to the findings, and what it is given to work with."""

from dataclasses import dataclass, field

from models.findings import (
    Classification,
    Detection,
    Lesion,
    Measurement,
    Outcome,
    ProbabilityMap,
    Segment,
    Withheld,
)
from models.labels import Label, Quantity
from models.tensors import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Hold what every step may look at: the series, and what the output it reads can say."""

    volume: Volume
    labels: tuple[Label, ...]
    quantities: tuple[Quantity, ...] = ()

    def chosen(self, names: tuple[str, ...] | None) -> tuple[Label, ...]:
        """Give the labels of `names` in that order; all of them for None."""
        if names is None:
            return self.labels
        by_name = {label.name: label for label in self.labels}
        return tuple(by_name[name] for name in names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Hold one step's share of the findings. `outcome` None means it makes no claim."""

    outcome: Outcome | None = None
    statement: str = ""
    segments: tuple[Segment, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    detections: tuple[Detection, ...] = ()
    classifications: tuple[Classification, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    maps: tuple[ProbabilityMap, ...] = ()
    details: dict[str, float | str] = field(default_factory=dict)
