"""Responses: what JSON and XML say, and what is read of a peer's, whatever it sends."""

from __future__ import annotations

import json

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicomweb.report import Said, Stored, json_of, read_json, read_xml, xml_of

KEPT = Stored(sop_class_uid="1.2.3", sop_instance_uid="2.25.1")
FULL = Stored(sop_class_uid="1.2.3", sop_instance_uid="2.25.2", reason=0xA700)
NAMELESS = Stored(sop_class_uid="", sop_instance_uid="<x>", reason=0xC110)


def test_pydicom_reads_our_json():
    found = pydicom.Dataset.from_json(json_of([KEPT, FULL, NAMELESS]).decode())
    assert [item.ReferencedSOPInstanceUID for item in found.ReferencedSOPSequence] == ["2.25.1"]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in found.FailedSOPSequence] == [
        ("2.25.2", 0xA700)
    ]
    assert [item.FailureReason for item in found.OtherFailuresSequence] == [0xC110]


@pytest.mark.parametrize(("write", "read"), [(json_of, read_json), (xml_of, read_xml)])
def test_what_is_written_is_read(write, read):
    assert read(write([KEPT, FULL, NAMELESS])) == Said(stored={"2.25.1": 0}, failed={"2.25.2": 0xA700})
    assert read(write([])) == Said(stored={}, failed={})


def test_no_text_of_a_sender_gets_into_an_answer():
    assert b"<x>" not in xml_of([NAMELESS])
    assert b"<x>" not in json_of([NAMELESS])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["00081198", "00081199", "00081155", "00081197", "Value", "vr"]),
            inner,
            max_size=4,
        )
    ),
)


@given(_JSON)
def test_an_answer_of_any_shape_is_read_or_is_none(tree):
    read_json(json.dumps(tree).encode())


@given(st.binary(max_size=200) | st.text("<>/=\"' DicomAttributeNatvMl&;", max_size=200).map(str.encode))
def test_any_bytes_are_read_or_are_none(data):
    read_json(data)
    read_xml(data)


def test_entities_are_not_expanded():
    assert read_xml(b'<!DOCTYPE x [<!ENTITY e "eeee">]><NativeDicomModel>&e;</NativeDicomModel>') is None
