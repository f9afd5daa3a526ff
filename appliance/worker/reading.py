"""How a worker reads stored bytes, and the header of an instance as a pydicom data set.

The bytes may lie in the spool or in a folder of files: a `Reader` hides which.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Protocol

from pydicom import Dataset, config
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from appliance.core.instance import Instance, Location
from appliance.worker.faults import DecodeError
from appliance.worker.pixels import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

# A header with an odd value is still a header; what is taken from it is checked where it is used.
config.settings.reading_validation_mode = config.IGNORE

_UNREADABLE = (
    BytesLengthException, ValueError, LookupError, EOFError, NotImplementedError, RecursionError,
    struct.error,
)  # fmt: skip
_FLOAT_PIXEL_DATA = 0x7FE00008
_PIXEL_DATA = 0x7FE00010


class Reader(Protocol):
    """Gives encoded bytes; `appliance.spool.store.Spool` is one."""

    def read(self, location: Location, offset: int = 0, length: int | None = None) -> bytes:
        """Read `length` bytes, or all, from `offset` bytes after the start of the data set."""
        ...


def read_header(instance: Instance, reader: Reader) -> Dataset:
    """Read every element in front of the pixels; the pixels stay where they are.

    The bytes were judged when they were received, so pydicom's leniency has nothing left to forgive.

    Raises:
        DecodeError: decode.header, pydicom cannot read what the judge let pass.
        OSError: the bytes are gone.
    """
    data = reader.read(instance.location, 0, instance.pixel_offset)
    try:
        header = read_dataset(
            BytesIO(data),
            instance.transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
            instance.transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
            stop_when=_at_pixels,
        )
    except _UNREADABLE as error:
        raise DecodeError(
            "decode.header", f"The header of an image cannot be read ({type(error).__name__})."
        ) from error
    return header


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return _FLOAT_PIXEL_DATA <= int(tag) <= _PIXEL_DATA
