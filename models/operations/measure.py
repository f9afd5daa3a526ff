"""The step that reports numbers a network gives by itself.

Promises: each number carries its coded name and its UCUM unit; one outside what its author takes for
plausible is withheld, and the model abstains.
Never: makes a claim from a number.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.findings import Measurement, Outcome, Withheld
from models.labels import Name, Quantity
from models.operations.part import Part, Scene
from models.operations.pooling import Pool, pooled
from models.operations.strict import Strict
from models.tensors import FloatArray


class Measure(Strict):
    """Report quantities.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        quantities: which are reported; all unless said.
        pool: how the slices' numbers become one.
    """

    step: Literal["measure"]
    output: Name | None = None
    quantities: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    pool: Pool = "mean"
    reads: ClassVar[tuple[str, ...]] = ("values",)

    def begin(self, scene: Scene) -> "_Values":
        """Start collecting."""
        return _Values(self, scene)


class _Values:
    """Hold the numbers of every slice or image."""

    def __init__(self, step: Measure, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._rows: list[FloatArray] = []

    def take_rows(self, rows: FloatArray) -> None:
        """Add the numbers of some slices: float32, (n, width)."""
        self._rows.append(rows)

    def finish(self) -> Part:
        """Give the numbers that are plausible, and the reasons for those that are not."""
        numbers = pooled(np.concatenate(self._rows), self._step.pool)
        wanted = self._step.quantities
        chosen = [one for one in self._scene.quantities if wanted is None or one.name in wanted]
        values = [(one, float(numbers[one.value])) for one in chosen]
        given = [(one, value) for one, value in values if _reason(one, value) is None]
        withheld = [(one, value) for one, value in values if _reason(one, value) is not None]
        return Part(
            outcome=Outcome.ABSTAINED if withheld else None,
            statement=_statement(given, withheld),
            measurements=tuple(_measurement(one, value) for one, value in given),
            withheld=tuple(_withheld(one, value) for one, value in withheld),
        )


def _reason(quantity: Quantity, value: float) -> str | None:
    """Say why a number is not given, without the number: it must not be read as a result."""
    if quantity.low is not None and value < quantity.low:
        return (
            f"The model's answer lies below {quantity.low:g} {quantity.unit.value}, which is not plausible."
        )
    if quantity.high is not None and value > quantity.high:
        return (
            f"The model's answer lies above {quantity.high:g} {quantity.unit.value}, which is not plausible."
        )
    return None


def _measurement(quantity: Quantity, value: float) -> Measurement:
    return Measurement(
        name=quantity.concept.code(),
        value=value,
        unit=quantity.unit.code(),
        segment=_owner(quantity),
        finding=quantity.finding.code() if quantity.finding else None,
    )


def _owner(quantity: Quantity) -> str | None:
    """Give what the number belongs to: a thing of its own where it is a measurement of one."""
    return quantity.name if quantity.finding else None


def _withheld(quantity: Quantity, value: float) -> Withheld:
    return Withheld(
        name=quantity.concept.code(),
        reason=_reason(quantity, value) or "",
        segment=_owner(quantity),
        finding=quantity.finding.code() if quantity.finding else None,
    )


def _statement(given: list[tuple[Quantity, float]], withheld: list[tuple[Quantity, float]]) -> str:
    said = []
    if given:
        said.append(f"Measured: {_listed(f'{one.title} {_written(one, value)}' for one, value in given)}.")
    if withheld:
        said.append(f"Withheld as not plausible: {_listed(one.title for one, _ in withheld)}.")
    return " ".join(said)


def _written(quantity: Quantity, value: float) -> str:
    unit = quantity.unit.value
    return (
        f"{value:.4g}"
        if unit == "1"
        else f"{value:.4g} {quantity.unit.meaning if '{' in unit or '[' in unit else unit}"
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
