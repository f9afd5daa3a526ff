"""The kinds of object a result may be sent as, what each is on the wire, and what stands in for which.

A destination chooses among them in `outputs`; "sr" is always made, whoever takes it.
Never: encodes, sends, or knows a destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Output: TypeAlias = Literal[
    "sr",
    "sr-cornerstone",
    "seg",
    "seg-fractional",
    "seg-labelmap",
    "gsps",
    "sc",
    "text-sr",
    "pdf",
    "pmap",
    "kos",
    "iocm",
]
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)

# PS3.4 B.5. "iocm" is a rejection note (PS3.16 CID 7010 by Key Object Selection), so it is asked for as that.
SOP_CLASSES: Final[Mapping[Output, str]] = {
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "sr-cornerstone": "1.2.840.10008.5.1.4.1.1.88.34",
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "seg-fractional": "1.2.840.10008.5.1.4.1.1.66.4",
    "seg-labelmap": "1.2.840.10008.5.1.4.1.1.66.7",
    "gsps": "1.2.840.10008.5.1.4.1.1.11.1",
    "sc": "1.2.840.10008.5.1.4.1.1.7",
    "text-sr": "1.2.840.10008.5.1.4.1.1.88.22",
    "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
    "pmap": "1.2.840.10008.5.1.4.1.1.30",
    "kos": "1.2.840.10008.5.1.4.1.1.88.59",
    "iocm": "1.2.840.10008.5.1.4.1.1.88.59",
}

# What a destination gets in the place of an object that it does not take. A chain ends where nothing shows
# the same; a rejection note has no stand-in, for nothing else may hide an object.
INSTEAD: Final[Mapping[Output, Output]] = {
    "seg-labelmap": "seg",
    "seg-fractional": "gsps",
    "seg": "gsps",
    "gsps": "sc",
    "pmap": "sc",
    "sr": "text-sr",
    "sr-cornerstone": "text-sr",
    "text-sr": "pdf",
    "pdf": "sc",
}
