"""Read the data set of a message that carries no instance: a list of references (PS3.7 10.1).

Promises: its framing is walked within narrow bounds before a library reads a value from it.
Never: judges what the values say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from dicom_node.framing import Walk
from dicom_node.limits import Limits
from dicom_node.syntaxes import encoding_of


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How wide and how deep such a data set may be."""

    depth_max: int
    items_max: int
    elements_max: int


def walked(data: bytes, syntax: str, limits: Limits, frame: Frame) -> Dataset:
    """Return a data set whose framing was walked within `frame` first.

    Raises:
        Refusal: it is not framed as `syntax` says, or exceeds the frame.
        Exception: whatever the library's decoder stumbles over.
    """
    narrow = replace(
        limits,
        sequence_depth_max=frame.depth_max,
        items_max=frame.items_max,
        elements_max=frame.elements_max,
    )
    encoding = encoding_of(syntax)
    Walk(data, encoding, narrow).run()
    return decode(BytesIO(data), encoding.implicit, True)
