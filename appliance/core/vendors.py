"""Numbers for the makers of scanners, as far as a public list of makers goes.

Promises: a number keeps its meaning for ever; a name on no list is OTHER, whatever stands in it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Vendor(IntEnum):
    """Who made a scanner."""

    OTHER = 0
    SIEMENS = 1
    GE = 2
    PHILIPS = 3
    CANON = 4
    TOSHIBA = 5
    HITACHI = 6
    FUJIFILM = 7
    UNITED_IMAGING = 8
    NEUSOFT = 9
    SHIMADZU = 10
    AGFA = 11
    CARESTREAM = 12
    HOLOGIC = 13
    SAMSUNG = 14
    KONICA_MINOLTA = 15


# What (0008,0070) Manufacturer begins with, in lower case.
_STARTS: Final = (
    ("siemens", Vendor.SIEMENS),
    ("ge medical", Vendor.GE),
    ("ge healthcare", Vendor.GE),
    ("gems", Vendor.GE),
    ("philips", Vendor.PHILIPS),
    ("canon", Vendor.CANON),
    ("toshiba", Vendor.TOSHIBA),
    ("hitachi", Vendor.HITACHI),
    ("fuji", Vendor.FUJIFILM),
    ("uih", Vendor.UNITED_IMAGING),
    ("united imaging", Vendor.UNITED_IMAGING),
    ("neusoft", Vendor.NEUSOFT),
    ("shimadzu", Vendor.SHIMADZU),
    ("agfa", Vendor.AGFA),
    ("carestream", Vendor.CARESTREAM),
    ("hologic", Vendor.HOLOGIC),
    ("samsung", Vendor.SAMSUNG),
    ("konica", Vendor.KONICA_MINOLTA),
)


def vendor_of(manufacturer: object) -> Vendor:
    """Return the number of a maker (PS3.3 C.7.5.1, Manufacturer)."""
    if not isinstance(manufacturer, str):
        return Vendor.OTHER
    said = manufacturer.strip().lower()
    if said == "ge":
        return Vendor.GE
    return next((vendor for start, vendor in _STARTS if said.startswith(start)), Vendor.OTHER)
