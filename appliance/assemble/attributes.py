"""The attributes of a series that a route may ask for, read from one instance's header.

Values have DICOM's own types: whole numbers, decimals, text, and lists where the dictionary allows several
values.
A value that cannot be read is left out; it never stops a study.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_VM
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.valuerep import PersonName

from appliance.core import log
from appliance.core.instance import Instance, Location
from appliance.spool.store import Spool

_log = log.get("assemble")
_TEXT_MAX = 1024
_VALUES_MAX = 64
_WHOLE = frozenset({"IS", "US", "SS", "UL", "SL", "SV", "UV"})
_DECIMAL = frozenset({"DS", "FL", "FD"})
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
# What pydicom raises for bytes that were sound enough to keep; one odd image must not stop the conductor.
_UNREADABLE = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, LookupError,
    ArithmeticError, AttributeError, NotImplementedError, RecursionError, struct.error,
)  # fmt: skip
config.settings.reading_validation_mode = config.IGNORE


def read_attributes(instance: Instance, spool: Spool) -> dict[str, Any]:
    """Return the plain top-level attributes of a kept instance by keyword.

    Sequences and bulk data are left out.
    """
    header = read_header(instance, spool)
    found: dict[str, Any] = {}
    for tag in header.keys():  # noqa: SIM118 - a data set is no mapping; its keys are tags
        try:
            element = header[tag]
            value = _value(element)
        except _UNREADABLE:
            continue
        if element.keyword and value is not None:
            found[element.keyword] = value
    return found


def read_header(instance: Instance, spool: Spool) -> Dataset:
    """Return a kept instance's header without pixels; an empty one where it cannot be read."""
    length = instance.location.length if instance.pixel_offset is None else instance.pixel_offset
    return read_header_at(instance.location, length, spool)


def read_header_at(location: Location, length: int, spool: Spool) -> Dataset:
    """Return the header in so many bytes of a data set; an empty one where it cannot be read."""
    try:
        return pydicom.dcmread(BytesIO(spool.head(location, length)), stop_before_pixels=True)
    except _UNREADABLE as error:
        _log.warning("assemble.header_unreadable", error=type(error).__name__)
        return Dataset()


def text_of(header: Dataset, keyword: str) -> str:
    """Return the one text of an attribute; empty where it is absent, several, or cannot be read."""
    try:
        value = header.get(keyword)
    except _UNREADABLE:
        return ""
    return str(value).strip(" ") if isinstance(value, str | PersonName) else ""


def _value(element: DataElement) -> Any:
    if element.VR in _WHOLE:
        kind: Any = int
    elif element.VR in _DECIMAL:
        kind = float
    elif element.VR in _TEXT:
        kind = _text
    else:
        return None
    if element.is_empty:
        return None
    many = element.VM > 1 or dictionary_VM(element.tag) != "1"
    values = list(element.value) if element.VM > 1 else [element.value]
    return [kind(value) for value in values[:_VALUES_MAX]] if many else kind(element.value)


def _text(value: object) -> str:
    return str(value)[:_TEXT_MAX]
