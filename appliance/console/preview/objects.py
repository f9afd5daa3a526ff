"""A frozen result object as a data set without its pixels, and where the pixels lie in its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset, config
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from appliance.console.preview.stored import Damaged, Stored
from appliance.core.instance import Location
from appliance.ledger.results import ResultObject

config.settings.reading_validation_mode = config.IGNORE

IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_PIXEL_DATA = 0x7FE00010
_LONG_HEAD_BYTES, _IMPLICIT_HEAD_BYTES = 12, 8


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One object; `pixel_offset` counts from the start of the data set to the value of Pixel Data."""

    item: ResultObject
    header: Dataset
    pixel_offset: int

    @property
    def location(self) -> Location:
        """Say where its bytes lie."""
        return self.item.location


def opened(item: ResultObject, stored: Stored, *, bytes_max: int) -> Opened:
    """Read one of our own objects, after its bytes were held against its digest.

    Raises:
        Gone, Damaged: see `Stored.check`.
        OSError: the disk failed.
    """
    if item.location.length > bytes_max:
        raise Damaged
    stored.check(item.location, item.digest)
    stream = BytesIO(stored.read(item.location))
    implicit = item.transfer_syntax_uid == IMPLICIT
    header = read_dataset(stream, implicit, item.transfer_syntax_uid != BIG_ENDIAN, stop_when=_at_pixels)
    head = _IMPLICIT_HEAD_BYTES if implicit else _LONG_HEAD_BYTES
    return Opened(item=item, header=header, pixel_offset=stream.tell() + head)


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _PIXEL_DATA
