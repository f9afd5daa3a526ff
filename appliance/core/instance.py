"""What the box knows of one kept instance: where its bytes lie and what its header said.

Values only.
Every room above the disk speaks of an instance through these two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where encoded bytes lie in the spool: a file under the spool root, a byte offset, a byte length."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One kept composite instance (PS3.3 C.12.1): identity, place, digest and the facts of its header.

    `location` covers the encoded data set without preamble and file meta information (PS3.5 7).
    `pixel_offset` counts bytes from the start of the data set to the value of the pixel element;
    `pixel_bytes` is its length, or what is left of the data set when the pixels are encapsulated.
    `facts` maps DICOM keywords to values in DICOM's own types; an absent attribute is an absent key.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str
    location: Location
    digest: str
    pixel_offset: int | None
    pixel_bytes: int | None
    facts: Mapping[str, Any]
