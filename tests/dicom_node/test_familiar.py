"""An instance framed like an earlier one gets the same header and the same refusals, walked or not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.errors import Refusal
from dicom_node.familiar import Judge
from dicom_node.limits import Limits
from dicom_node.preflight import Header, inspect, scan
from tests.dicom_node.samples import (
    BIG,
    CT,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    JPEG_2000,
    REAL_FILES,
    SEQUENCE_END,
    UNDEFINED,
    element,
    encoded,
    header,
    item,
    real,
    sample,
)

LIMITS = Limits()


def plainly(data: bytes, syntax: str, sop_instance_uid: str) -> Header | tuple[object, ...]:
    try:
        scanned = scan(data, syntax, LIMITS)
        return inspect(data, scanned, sop_class_uid=CT, sop_instance_uid=sop_instance_uid)
    except Refusal as refusal:
        return refusal.status, refusal.word, refusal.offset


def judged(judge: Judge, data: bytes, syntax: str, sop_instance_uid: str) -> Header | tuple[object, ...]:
    view = memoryview(bytearray(data)).toreadonly()
    try:
        return judge.header(view, syntax, sop_class_uid=CT, sop_instance_uid=sop_instance_uid)
    except Refusal as refusal:
        return refusal.status, refusal.word, refusal.offset


changes = st.fixed_dictionaries(
    {},
    optional={
        "SOPInstanceUID": st.sampled_from(["2.25.101", "2.25.102", "2.25.1023"]),
        "StudyInstanceUID": st.sampled_from(["2.25.102", "2.25.103", None]),
        "SeriesInstanceUID": st.sampled_from(["2.25.103", "2.25.104"]),
        "PatientID": st.sampled_from(["P1", "P2", "P123"]),
        "InstanceNumber": st.sampled_from([1, 7, 8, 123]),
        "ImagePositionPatient": st.sampled_from([["-1.5", "2", "3e1"], ["-2.5", "2", "3e2"]]),
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
        "PixelRepresentation": st.sampled_from([0, 1]),
        "PixelPaddingValue": st.sampled_from([1, 65535]),
        "SliceLocation": st.sampled_from(["1", "2"]),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([EXPLICIT, IMPLICIT, BIG]), st.lists(changes, min_size=2, max_size=6))
def test_neighbours_are_judged_as_if_each_came_alone(syntax: str, instances: list[dict[str, Any]]) -> None:
    judge = Judge(LIMITS)
    for one in instances:
        if "PixelPaddingValue" in one and one.get("PixelRepresentation"):
            one = {**one, "PixelPaddingValue": 1}
        known = sample(syntax, **one)
        args = (known.data, syntax, "2.25.101")
        assert judged(judge, *args) == plainly(*args)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_byte_changed_anywhere_is_judged_as_if_it_came_alone(data: st.DataObject) -> None:
    judge, known = Judge(LIMITS), sample()
    assert isinstance(judged(judge, known.data, EXPLICIT, "2.25.101"), Header)
    twisted = bytearray(known.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(twisted) - 1))
        twisted[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        twisted = twisted[: data.draw(st.integers(1, len(twisted)))]
    args = (bytes(twisted), EXPLICIT, "2.25.101")
    assert judged(judge, *args) == plainly(*args)


pieces = st.lists(st.binary(max_size=9).map(lambda piece: item(piece)), max_size=4).map(b"".join)
tails = st.sampled_from([SEQUENCE_END, SEQUENCE_END, SEQUENCE_END, b"", SEQUENCE_END + b"\0" * 9, ITEM_END])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(changes, pieces, tails), min_size=2, max_size=6))
def test_encapsulated_neighbours_are_judged_as_if_each_came_alone(
    instances: list[tuple[dict[str, Any], bytes, bytes]],
) -> None:
    judge = Judge(LIMITS)
    for one, fragments, tail in [({}, item(b""), SEQUENCE_END), *instances]:
        if "PixelPaddingValue" in one and one.get("PixelRepresentation"):
            one = {**one, "PixelPaddingValue": 1}
        pixels = element(0x7FE00010, b"OB", item(b"") + fragments + tail, length=UNDEFINED)
        args = (encoded(header(**one)) + pixels, JPEG_2000, "2.25.101")
        assert judged(judge, *args) == plainly(*args)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_byte_changed_in_an_encapsulated_instance_is_judged_as_if_it_came_alone(
    data: st.DataObject,
) -> None:
    pixels = element(0x7FE00010, b"OB", item(b"") + item(b"12345678") + SEQUENCE_END, length=UNDEFINED)
    known, judge = encoded(header()) + pixels, Judge(LIMITS)
    assert isinstance(judged(judge, known, JPEG_2000, "2.25.101"), Header)
    twisted = bytearray(known)
    # Half of the changes fall on the pixels.
    least = data.draw(st.sampled_from([0, len(known) - len(pixels)]))
    twisted[data.draw(st.integers(least, len(known) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        twisted = twisted[: data.draw(st.integers(1, len(known)))]
    args = (bytes(twisted), JPEG_2000, "2.25.101")
    assert judged(judge, *args) == plainly(*args)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_file_that_comes_twice_has_one_header(name: str) -> None:
    known, judge = real(name), Judge(LIMITS)
    view = memoryview(known.data)
    asked = {"sop_class_uid": known.sop_class_uid, "sop_instance_uid": known.sop_instance_uid}
    first, second = (judge.header(view, known.transfer_syntax_uid, **asked) for _ in range(2))
    assert first == second
    assert first == inspect(view, scan(view, known.transfer_syntax_uid, LIMITS), **asked)


def test_what_is_known_of_one_instance_is_not_shared_with_the_next() -> None:
    judge, known = Judge(LIMITS), sample(ImageType=["ORIGINAL", "PRIMARY"])
    first, second = (judged(judge, known.data, EXPLICIT, known.sop_instance_uid) for _ in range(2))
    assert isinstance(first, Header)
    assert isinstance(second, Header)
    first.facts["ImageType"].append("X")  # type: ignore[union-attr, arg-type]
    assert second.facts["ImageType"] == ["ORIGINAL", "PRIMARY"]
