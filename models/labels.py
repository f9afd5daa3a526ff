"""The names of what a network can say: each label and quantity with its coded concepts."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from models.findings import Code
from models.operations.strict import Strict

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Byte = Annotated[int, Field(ge=0, le=255)]
UCUM = "UCUM"


class CodeEntry(Strict):
    """Read a coded concept (PS3.3 8.8): value, scheme (SCT, DCM, RADLEX, ...), meaning."""

    value: Annotated[str, Field(min_length=1, max_length=16)]
    scheme: Annotated[str, Field(min_length=1, max_length=16)]
    meaning: Annotated[str, Field(min_length=1, max_length=64)]

    def code(self) -> Code:
        """Give the same concept as findings carry it."""
        return Code(value=self.value, scheme=self.scheme, meaning=self.meaning)


class Label(Strict):
    """Describe one label.

    Attributes:
        name: what other parts of the manifest call it, and the Segment Label.
        value: its number in a label map, or its channel where the network gives probabilities.
        title: words for the reader, singular; plural adds an s unless `plural` says otherwise.
        category: Segmented Property Category, CID 7150; needed where masks are made.
        type: Segmented Property Type, and the Finding of its measurements.
        colour_rgb: recommended display colour; needed where masks are made.
    """

    name: Name
    value: Byte
    title: Text
    plural: Text | None = None
    category: CodeEntry | None = None
    type: CodeEntry
    colour_rgb: tuple[Byte, Byte, Byte] | None = None

    def count(self, number: int) -> str:
        """Write "1 dense lesion", "3 dense lesions"."""
        return f"{number} {self.title if number == 1 else self.plural or self.title + 's'}"


class Quantity(Strict):
    """Describe one number a network gives by itself.

    Attributes:
        name: what other parts of the manifest call it.
        value: its place in the network's answer, from 0.
        title: words for the reader.
        concept: what is measured, coded.
        unit: UCUM.
        low, high: what its author takes for plausible; outside it the number is withheld.
        finding: what it is a measurement of, coded; none: the whole series. Two quantities of one concept
            need one each, and are told apart by their names.
    """

    name: Name
    value: Byte
    title: Text
    concept: CodeEntry
    unit: CodeEntry
    low: float | None = None
    high: float | None = None
    finding: CodeEntry | None = None


def codes_of(section: BaseModel, where: str = "") -> Iterator[tuple[str, Code]]:
    """Give every coded concept of a manifest, each with its key: ("output.labels[1].type", code)."""
    for key in type(section).model_fields:
        yield from _codes_in(getattr(section, key), f"{where}.{key}".lstrip("."))


def _codes_in(value: object, where: str) -> Iterator[tuple[str, Code]]:
    if isinstance(value, CodeEntry):
        yield where, value.code()
    elif isinstance(value, BaseModel):
        yield from codes_of(value, where)
    elif isinstance(value, tuple):
        for number, one in enumerate(value, start=1):
            yield from _codes_in(one, f"{where}[{number}]")
