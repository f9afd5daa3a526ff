"""A workitem is read from whatever a server sends: what is not sound is told, and all of it is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicomweb.workitem import INPUTS_MAX, read_all, read_one
from tests.worklist import code_item, input_item, sequence

UID: dict[str, Any] = {"00080018": {"vr": "UI", "Value": ["1.2.3"]}}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTE = JUNK | st.fixed_dictionaries({"Value": JUNK | st.lists(JUNK, max_size=3)})
TAGS = st.sampled_from(
    ["00080018", "00741000", "00404041", "00404018", "00404025", "00404021", "00741002", "0020000D"]
)


def read(**attributes: Any):
    found = read_one(
        json.dumps(UID | {tag.strip("_"): value for tag, value in attributes.items()}).encode(), "1.2.3"
    )
    assert found is not None
    return found


@given(st.lists(st.dictionaries(TAGS, ATTRIBUTE, max_size=5), max_size=3))
def test_no_answer_brings_the_reader_down(tree):
    for one in read_all(json.dumps(tree).encode()) or []:
        assert len(one.inputs) <= INPUTS_MAX
        assert one.uid


@given(st.binary(max_size=60))
def test_no_bytes_do(data):
    read_all(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{}]", b"[1]", b'"text"', b"\xff"])
def test_what_is_no_list_of_workitems_is_none(data):
    assert read_all(data) is None


def test_one_object_will_do_and_its_own_uid_may_be_left_out():
    assert read_one(json.dumps(UID).encode(), "1.2.3") is not None
    assert read_one(b"{}", "1.2.3") is not None
    assert read_one(json.dumps([UID, UID]).encode(), "1.2.3") is None
    assert read_one(json.dumps(UID).encode(), "1.2.4") is None


@pytest.mark.parametrize("state", ["", "READY", "INCOMPLETE", "UNAVAILABLE"])
def test_inputs_that_are_not_ready_are_not(state):
    assert read(_00404041={"vr": "CS", "Value": [state]}).ready == (state in ("", "READY"))


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{}],
        [input_item("1.2"), input_item("not a uid")],
        [input_item("1.2", series_uid="not a uid")],
        [input_item("1.2") | {"0040E020": {"vr": "CS", "Value": ["CDA"]}}],
        [input_item("1.2")] * (INPUTS_MAX + 1),
    ],
    ids=["none", "empty", "one unsound", "series unsound", "no DICOM", "too many"],
)
def test_inputs_that_cannot_all_be_told_are_not_sound(items):
    assert not read(_00404021=sequence(*items)).inputs_sound


def test_an_input_has_whoever_is_said_to_have_it():
    here = input_item("1.2", ae_title="PACS", url="https://pacs.example/studies/1.2")
    here["0040E021"]["Value"].append({"00080054": {"vr": "AE", "Value": ["OTHER", "x" * 17, None]}})
    found = read(_00404021=sequence(here))
    assert found.inputs_sound
    assert found.inputs[0].ae_titles == ("PACS", "OTHER")
    assert found.inputs[0].urls == ("https://pacs.example/studies/1.2",)


def test_a_code_may_be_long_or_a_urn():
    long = {"00080119": {"vr": "UC", "Value": ["x" * 40]}}
    urn = {"00080120": {"vr": "UR", "Value": ["urn:x"]}}
    found = read(_00404018=sequence(code_item("A"), long, urn, {}))
    assert [one.value for one in found.codes] == ["A", "x" * 40, "urn:x"]


@pytest.mark.parametrize(
    "said",
    [
        {"00741238": {"vr": "LT", "Value": ["not needed"]}},
        {"0074100E": sequence(code_item("110513", "DCM"))},
    ],
)
def test_a_wish_to_cancel_is_seen(said):
    assert read(_00741002=sequence(said)).cancel_asked
    assert not read(_00741002=sequence({"00741004": {"vr": "DS", "Value": [40]}})).cancel_asked
