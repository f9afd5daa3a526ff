"""The names of what a network can say: each label with its coded concepts and how it is shown."""

from typing import Annotated

from pydantic import Field

from models.findings import Code
from models.operations.strict import Strict

Text = Annotated[str, Field(min_length=1)]
Byte = Annotated[int, Field(ge=0, le=255)]


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
        category: Segmented Property Category, CID 7150.
        type: Segmented Property Type, and the Finding of its measurements.
        colour_rgb: recommended display colour.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    value: Byte
    title: Text
    plural: Text | None = None
    category: CodeEntry
    type: CodeEntry
    colour_rgb: tuple[Byte, Byte, Byte]

    def count(self, number: int) -> str:
        """Write "1 dense lesion", "3 dense lesions"."""
        return f"{number} {self.title if number == 1 else self.plural or self.title + 's'}"
