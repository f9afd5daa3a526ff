"""Which transfer syntaxes this node speaks, and how each frames its elements (PS3.5 10 and Annex A).

Deflated syntaxes are absent on purpose: one megabyte of them inflates to a gigabyte.
So are the SMPTE ST 2110 ones, which belong to DICOM-RTV streams and never to a C-STORE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pynetdicom import ALL_TRANSFER_SYNTAXES

from dicom_node.errors import Refusal
from dicom_node.status import Status

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

NATIVE: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)

_NOT_OFFERED: Final = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
        "1.2.840.10008.1.2.8.1",  # Deflated Image Frame Compression
        "1.2.840.10008.1.2.7.1",  # SMPTE ST 2110-20 progressive video
        "1.2.840.10008.1.2.7.2",  # SMPTE ST 2110-20 interlaced video
        "1.2.840.10008.1.2.7.3",  # SMPTE ST 2110-30 audio
    }
)

# In order of preference when a sender leaves us the choice: native pixels need no decoder.
OFFERED: Final = (
    *NATIVE,
    ENCAPSULATED_UNCOMPRESSED,
    *(uid for uid in ALL_TRANSFER_SYNTAXES if uid not in _NOT_OFFERED and uid not in NATIVE),
)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a transfer syntax frames data elements: PS3.5 7.1.2, 7.1.3 and A.4."""

    implicit: bool
    big_endian: bool
    encapsulated: bool


_ENCODINGS: Final = {
    uid: Encoding(
        implicit=uid == IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian=uid == EXPLICIT_VR_BIG_ENDIAN,
        encapsulated=uid not in NATIVE,
    )
    for uid in OFFERED
}


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return how `transfer_syntax_uid` frames its elements.

    Raises:
        Refusal: NOT_READABLE, the syntax is deflated or unknown here.
    """
    try:
        return _ENCODINGS[transfer_syntax_uid]
    except KeyError:
        raise Refusal(
            Status.NOT_READABLE, "receive.syntax_unknown", "Transfer syntax is not read here"
        ) from None
