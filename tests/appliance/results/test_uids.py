"""What is read off a header's bytes is what decoding it gives, and nothing else of it is decoded."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from appliance.results.uids import SOP_INSTANCE, number, uid

_NUMBER = Tag("InstanceNumber")


def stored(value: bytes) -> Dataset:
    """Give a header whose one element was never decoded."""
    encoded = b"\x20\0\x13\0IS" + len(value).to_bytes(2, "little") + value
    return read_dataset(BytesIO(encoded), False, True)


@pytest.mark.parametrize(
    ("value", "expected"), [(b"12", 12), (b" 7", 7), (b"007 ", 7), (b"-3", -3), (b"+4", 4), (b"", None)]
)
def test_a_number_is_the_same_decoded_or_not(value: bytes, expected: int | None) -> None:
    source, decoded = stored(value), stored(value)
    assert decoded.get("InstanceNumber") in (expected, "")
    assert number(source, _NUMBER) == number(decoded, _NUMBER) == expected


def test_digits_are_not_decoded_for_it() -> None:
    source = stored(b"12")
    assert number(source, _NUMBER) == 12
    assert isinstance(source.get_item(_NUMBER), RawDataElement)


def test_what_is_not_there_is_told_as_such() -> None:
    assert number(Dataset(), _NUMBER) is None
    assert uid(Dataset(), SOP_INSTANCE) == ""
