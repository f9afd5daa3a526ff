"""Read the data set of a message that carries no instance: a list of references (PS3.7 10.1).

Promises: its framing is walked within narrow bounds before a library reads a value from it.
Never: judges what the values say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from dicom_node.framing import Walk
from dicom_node.limits import Limits
from dicom_node.syntaxes import encoding_of


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How large, how wide and how deep such a data set may be."""

    bytes_max: int
    references_max: int
    elements_per_reference_max: int
    depth_max: int


@contextmanager
def stumbling(unsound: Exception) -> Iterator[None]:
    """Raise `unsound` in the place of whatever a reader stumbles over; one of its own kind passes."""
    try:
        yield
    except type(unsound):
        raise
    # Refusals of the walk, and what the library's decoder raises: all of it is the peer's doing.
    except Exception as fault:
        raise unsound from fault


def read_framed(
    information: BytesIO | None,
    syntax: str,
    limits: Limits,
    frame: Frame,
    *,
    missing: Exception,
    too_large: Exception,
) -> Dataset:
    """Return a data set whose framing was walked within `frame` first.

    Raises:
        Exception: `missing` where nothing came, `too_large` where too many bytes did.
        Refusal: it is not framed as `syntax` says, or exceeds the frame otherwise.
        Exception: whatever the library's decoder stumbles over.
    """
    data = information.getvalue() if information else b""
    if not data:
        raise missing
    if len(data) > frame.bytes_max:
        raise too_large
    narrow = replace(
        limits,
        sequence_depth_max=frame.depth_max,
        items_max=2 * frame.references_max,
        elements_max=frame.elements_per_reference_max * frame.references_max,
    )
    encoding = encoding_of(syntax)
    Walk(data, encoding, narrow).run()
    return decode(BytesIO(data), encoding.implicit, True)
