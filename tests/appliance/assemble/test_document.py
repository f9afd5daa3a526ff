"""Whatever the bytes of a document are, it is read within its bounds or said to be unreadable."""

from __future__ import annotations

import random
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from appliance.assemble.document import Document, Unreadable, read_document
from appliance.assemble.limits import DEFAULT
from appliance.assemble.verdict import Own, Unclear, judge
from tests.appliance.assemble import papers
from tests.appliance.results.given import bands
from tests.appliance.results.test_earlier import COMPARED

IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Dataset:
    return papers.report_of(papers.our_result(outputs=("sr",)))


@pytest.fixture(scope="module")
def paper(report) -> Dataset:
    return papers.reviewed(report)


def test_every_transfer_syntax_of_a_document_gives_the_same(paper):
    explicit = papers.encoded(paper)
    wanted = read_document(explicit, EXPLICIT)
    squeezing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert read_document(squeezing.compress(explicit) + squeezing.flush(), DEFLATED) == wanted
    for syntax in (IMPLICIT, BIG):
        target = DicomBytesIO()
        target.is_little_endian, target.is_implicit_VR = syntax == IMPLICIT, syntax == IMPLICIT
        # By way of JSON: what is written in one syntax must not remember the bytes of another.
        read = read_dataset(BytesIO(explicit), is_implicit_VR=False, is_little_endian=True)
        plain = Dataset.from_json(read.to_json())
        write_dataset(target, plain)
        assert read_document(target.getvalue(), syntax) == wanted


def test_what_is_quoted_from_an_earlier_report_is_not_what_a_document_says():
    quoting = papers.report_of(papers.our_result(COMPARED, outputs=("sr",), findings=bands))
    found = read_document(papers.encoded(quoting), EXPLICIT)
    del quoting.ContentSequence[-1]
    assert read_document(papers.encoded(quoting), EXPLICIT).groups == found.groups
    assert len(found.groups) == 3


def test_a_document_keeps_nobody_s_name(paper):
    found = read_document(papers.encoded(paper), EXPLICIT)
    assert found.verified
    assert papers.READER.split("^")[0] not in repr(found)
    assert papers.ORGANIZATION not in repr(found)
    assert str(paper.PatientName) not in repr(found)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (replace(DEFAULT, document_bytes_max=1_000), "larger"),
        (replace(DEFAULT, items_max=20), "more content items"),
        (replace(DEFAULT, item_depth_max=2), "deeper"),
        (replace(DEFAULT, groups_max=1), "groups"),
        (replace(DEFAULT, references_max=3), "more objects"),
    ],
)
def test_a_document_past_a_bound_is_unreadable_and_says_which(paper, limits, said):
    with pytest.raises(Unreadable, match=said):
        read_document(papers.encoded(paper), EXPLICIT, limits)


def test_what_inflates_beyond_the_bound_is_not_inflated():
    squeezing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = squeezing.compress(bytes(64 * 1024 * 1024)) + squeezing.flush()
    with pytest.raises(Unreadable, match="larger"):
        read_document(bomb, DEFLATED)


def nested(depth: int) -> bytes:
    """A content tree of one item in one item, written by hand: the library takes for ever over it."""
    inner = b""
    for _ in range(depth):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
    named = b"1.2.840.10008.5.1.4.1.1.88.11\0"
    return struct.pack("<HH2sH", 0x0008, 0x0016, b"UI", len(named)) + named + inner


@pytest.mark.parametrize("depth", [DEFAULT.item_depth_max + 1, 5_000])
def test_a_tree_that_is_too_deep_is_unreadable(depth):
    with pytest.raises(Unreadable):
        read_document(nested(depth), EXPLICIT)


def test_a_tree_of_the_depth_that_is_allowed_is_read():
    assert read_document(nested(DEFAULT.item_depth_max), EXPLICIT).groups == {}


def test_no_damage_to_a_document_ends_in_anything_but_a_document_or_a_word(report, paper):
    whole, chance = papers.encoded(paper), random.Random(4)
    own = [
        Own(
            result_id=1,
            sop_instance_uid=str(report.SOPInstanceUID),
            document=read_document(papers.encoded(report), EXPLICIT),
        )
    ]
    ends = {"read": 0, "unreadable": 0}
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 30))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        syntax = chance.choice((EXPLICIT, EXPLICIT, EXPLICIT, IMPLICIT, BIG, DEFLATED))
        try:
            found = read_document(bytes(data), syntax)
        except Unreadable:
            ends["unreadable"] += 1
            continue
        assert isinstance(found, Document)
        ends["read"] += 1
        with suppress(Unclear):
            judge(found, own)
    assert min(ends.values()) > 0, ends
