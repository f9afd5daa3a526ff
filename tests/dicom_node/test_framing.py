"""The judge of encoded bytes: what is whole passes, everything else is a Refusal and nothing but."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.errors import Refusal
from dicom_node.framing import UNDEFINED, Walk
from dicom_node.limits import Limits
from dicom_node.preflight import Scan, scan
from dicom_node.status import Status
from tests.dicom_node.samples import (
    BIG,
    EXPLICIT,
    FIRST,
    IMPLICIT,
    ITEM_END,
    JPEG_2000,
    REAL_FILES,
    SEQUENCE_END,
    element,
    encoded,
    header,
    item,
    nested,
    real,
    sample,
)

LIMITS = Limits()
SYNTAXES = (IMPLICIT, EXPLICIT, BIG)


def refused(data: bytes, syntax: str = EXPLICIT, limits: Limits = LIMITS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        scan(data, syntax, limits)
    return caught.value


def boundaries(data: bytes, syntax: str) -> set[int]:
    """Where a cut leaves a whole data set: behind each top-level element."""
    found = scan(data, syntax, LIMITS)
    return {span.offset + span.length for span in found.elements.values()}


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_objects_pass(name: str) -> None:
    known = real(name)
    found = scan(known.data, known.transfer_syntax_uid, LIMITS)
    assert found.pixel is not None
    assert found.pixel.keyword == "PixelData"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_a_cut_anywhere_is_refused_unless_it_leaves_a_whole_data_set(syntax: str, undefined: bool) -> None:
    data = encoded(header(), syntax, undefined=undefined)
    whole = boundaries(data, syntax)
    assert len(data) in whole
    for cut in range(len(data)):
        if cut in whole:
            scan(data[:cut], syntax, LIMITS)
        else:
            assert refused(data[:cut], syntax).status == Status.NOT_READABLE, cut


def test_a_cut_inside_encapsulated_pixels_is_refused_at_every_byte() -> None:
    known = real("MR_small_RLE.dcm")
    start = scan(known.data, known.transfer_syntax_uid, LIMITS).elements[0x7FE00010].offset
    for cut in range(start - 12 + 1, start + 64):
        assert refused(known.data[:cut], known.transfer_syntax_uid).word == "receive.truncated"
    for cut in range(len(known.data) - 64, len(known.data)):
        assert refused(known.data[:cut], known.transfer_syntax_uid).word == "receive.truncated"


@pytest.mark.parametrize("written", SYNTAXES)
@pytest.mark.parametrize("claimed", SYNTAXES)
def test_another_transfer_syntax_is_never_guessed(written: str, claimed: str) -> None:
    data = encoded(header(), written)
    if written == claimed:
        scan(data, claimed, LIMITS)
    else:
        assert refused(data, claimed).word == "receive.syntax_mismatch"


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_real_object_under_another_syntax_is_refused(name: str) -> None:
    known = real(name)
    other = EXPLICIT if known.transfer_syntax_uid in (IMPLICIT, BIG) else IMPLICIT
    assert refused(known.data, other).status == Status.NOT_READABLE


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1", "1.2.3"])
def test_deflated_and_unknown_syntaxes_are_not_read(syntax: str) -> None:
    assert refused(sample().data, syntax).word == "receive.syntax_unknown"


def test_an_empty_data_set_is_refused() -> None:
    assert refused(b"").word == "receive.truncated"


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_sequences_may_nest_up_to_the_bound(depth: int) -> None:
    assert len(scan(nested(depth), EXPLICIT, LIMITS).elements) == 2


@pytest.mark.parametrize("depth", [65, 5_000, 1_000_000])
def test_a_nesting_bomb_is_refused_at_the_bound_however_deep(depth: int) -> None:
    refusal = refused(nested(depth))
    assert (refusal.status, refusal.word) == (Status.BOUND_EXCEEDED, "receive.too_deep")
    # Whatever the depth, no byte behind the 65th opening was looked at.
    assert refusal.offset is not None
    assert refusal.offset < len(FIRST) + 66 * 20


def test_depth_is_also_counted_through_defined_lengths_and_implicit_vr() -> None:
    data = b""
    for _ in range(65):
        data = element(0x00081140, b"SQ", item(data))
    assert refused(FIRST + data).word == "receive.too_deep"
    data = b""
    for _ in range(65):
        inner = item(data)
        data = struct.pack("<HHL", 0x0008, 0x1140, len(inner)) + inner
    assert refused(struct.pack("<HHL", 0x0008, 0x0005, 0) + data, IMPLICIT).word == "receive.too_deep"


def test_the_walk_uses_no_recursion() -> None:
    known = nested(64)
    limit = sys.getrecursionlimit()
    depth = _stack_depth()
    sys.setrecursionlimit(depth + 30)
    try:
        scan(known, EXPLICIT, LIMITS)
    finally:
        sys.setrecursionlimit(limit)


def _stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    return depth


def test_the_number_of_elements_is_bounded_at_all_depths() -> None:
    limits = Limits(elements_max=10)
    row = b"".join(element(0x00100010 + n, b"LO", b"") for n in range(8))
    scan(FIRST + element(0x00081140, b"SQ", item(row)), EXPLICIT, limits)
    refusal = refused(
        FIRST + element(0x00081140, b"SQ", item(row)) + element(0x00100010, b"LO", b""), limits=limits
    )
    assert (refusal.status, refusal.word) == (Status.BOUND_EXCEEDED, "receive.too_many")


def test_the_number_of_items_is_bounded() -> None:
    limits = Limits(items_max=100)
    scan(FIRST + element(0x00081140, b"SQ", item(b"") * 100), EXPLICIT, limits)
    refusal = refused(FIRST + element(0x00081140, b"SQ", item(b"") * 101), limits=limits)
    assert (refusal.status, refusal.word) == (Status.BOUND_EXCEEDED, "receive.too_many")


def test_the_shipped_bounds_refuse_half_a_million_items_and_a_million_elements() -> None:
    assert refused(FIRST + element(0x00081140, b"SQ", item(b"") * 500_000)).word == "receive.too_many"
    row = item(element(0x00100010, b"LO", b"") * 1_000_000)
    assert refused(FIRST + element(0x00081140, b"SQ", row)).word == "receive.too_many"


def test_work_is_bounded_by_the_bytes_present_and_not_by_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    original = Walk._item

    def counted(self: Walk, position: int) -> int:
        nonlocal steps
        steps += 1
        return original(self, position)

    monkeypatch.setattr(Walk, "_item", counted)
    scan(FIRST + element(0x00081140, b"SQ", item(b"") * 1_000), EXPLICIT, LIMITS)
    assert steps == 1_001
    refused(FIRST + element(0x00081140, b"SQ", item(b"", length=0x7FFFFFFF)))
    assert steps == 1_002


def test_private_blocks_are_bounded() -> None:
    def blocks(count: int) -> bytes:
        groups = (0x0011 + 2 * n for n in range(count))
        return FIRST + b"".join(element(group << 16 | 0x10, b"LO", b"MAKER ") for group in groups)

    scan(blocks(1_000), EXPLICIT, LIMITS)
    assert refused(blocks(10_000)).status == Status.BOUND_EXCEEDED


def test_fragments_are_bounded() -> None:
    pixels = element(0x7FE00010, b"OB", item(b"") * 11 + SEQUENCE_END, length=UNDEFINED)
    scan(FIRST + pixels, JPEG_2000, Limits(fragments_max=11))
    assert refused(FIRST + pixels, JPEG_2000, Limits(fragments_max=10)).word == "receive.too_many"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("lie", [0xFFFFFFFE, 0x7FFFFFFF, 0x80000000])
def test_a_length_lie_in_the_pixels_is_refused(syntax: str, lie: int) -> None:
    data = sample(syntax).data
    order = ">L" if syntax == BIG else "<L"
    twisted = data[:-12] + struct.pack(order, lie) + data[-8:]
    assert refused(twisted, syntax).status == Status.NOT_READABLE


def test_a_length_one_too_long_and_one_too_short_are_refused() -> None:
    assert refused(FIRST + element(0x00100010, b"PN", b"AB", length=3)).word == "receive.truncated"
    assert refused(FIRST + element(0x00100010, b"PN", b"ABCD", length=2)).status == Status.NOT_READABLE


@pytest.mark.parametrize("vr", [b"UT", b"UC", b"UN", b"OB", b"OW"])
def test_an_undefined_length_where_none_may_be_is_refused(vr: bytes) -> None:
    data = FIRST + element(0x00091001, vr, b"text", length=UNDEFINED)
    assert refused(data).status == Status.NOT_READABLE


def test_native_pixels_of_undefined_length_are_refused() -> None:
    fragments = item(b"") + item(b"\1\2") + SEQUENCE_END
    data = FIRST + element(0x7FE00010, b"OB", fragments, length=UNDEFINED)
    found = scan(data, JPEG_2000, LIMITS)
    assert found.pixel is not None
    assert found.pixel.encapsulated
    assert found.pixel.length == len(fragments)
    assert refused(data, EXPLICIT).word == "receive.bad_length"


@pytest.mark.parametrize(
    "inside",
    [
        ITEM_END,  # a delimiter without an item
        SEQUENCE_END,  # a sequence ends among elements
        item(b""),  # an item outside a sequence
        element(0x00081140, b"SQ", element(0x00100010, b"LO", b"")),  # an element where an item must be
        element(0x00081140, b"SQ", item(b"", length=4)),  # an item longer than its sequence
        element(0x00081140, b"SQ", item(b"") + SEQUENCE_END),  # a delimiter in a sequence of defined length
        element(0x00081140, b"SQ", item(ITEM_END)),  # a delimiter in an item of defined length
        element(0x00081140, b"SQ", item(b"", length=UNDEFINED)),  # an item that never ends
        element(
            0x00081140, b"SQ", item(b"") + item(b"xx", tag=0xFFFEE0DD), length=UNDEFINED
        ),  # a long delimiter
        element(0x00020010, b"UI", b"1.2\0"),  # file meta information
        element(0x00000002, b"UI", b"1.2\0"),  # a command element
        element(0x00080005, b"CS", b"ISO_IR 192"),  # the first element again
        element(0x00100010, b"Zz", b""),  # no VR
    ],
)
def test_broken_framing_is_refused(inside: bytes) -> None:
    assert refused(FIRST + inside).status == Status.NOT_READABLE


def test_a_part_10_file_is_not_a_data_set() -> None:
    assert refused(b"\0" * 128 + b"DICM" + sample().data, IMPLICIT).word == "receive.not_a_data_set"


def test_tags_out_of_order_are_kept() -> None:
    data = FIRST + element(0x00200010, b"SH", b"S1") + element(0x00100020, b"LO", b"P1")
    assert list(scan(data, EXPLICIT, LIMITS).elements) == [0x00080005, 0x00200010, 0x00100020]


def test_unknown_vr_of_undefined_length_holds_implicit_little_endian_in_every_syntax() -> None:
    inner = struct.pack("<HHL", 0x0010, 0x0020, 2) + b"P1"
    content = item(inner, length=UNDEFINED) + ITEM_END + SEQUENCE_END
    little = FIRST + element(0x00091001, b"UN", content, length=UNDEFINED) + element(0x00100020, b"LO", b"P1")
    assert 0x00100020 in scan(little, EXPLICIT, LIMITS).elements
    big = (
        struct.pack(">HH2sH", 8, 5, b"CS", 0)
        + struct.pack(">HH2sHL", 9, 0x1001, b"UN", 0, UNDEFINED)
        + content
    )
    assert 0x00091001 in scan(big, BIG, LIMITS).elements


def test_a_known_sequence_written_as_unknown_is_judged_too() -> None:
    deep = b""
    for _ in range(70):
        inner = item(deep)
        deep = struct.pack("<HHL", 0x0008, 0x1140, len(inner)) + inner
    assert refused(FIRST + element(0x00081140, b"UN", item(deep))).word == "receive.too_deep"
    scan(FIRST + element(0x00081140, b"UN", b"opaque"), EXPLICIT, LIMITS)


@pytest.mark.parametrize("undefined", [False, True])
def test_spans_cover_the_data_set_without_gap(undefined: bool) -> None:
    for syntax in SYNTAXES:
        data = encoded(header(), syntax, undefined=undefined)
        end = 0
        for span in scan(data, syntax, LIMITS).elements.values():
            assert span.offset in (end + 8, end + 12)
            end = span.offset + span.length
        assert end == len(data)


def test_the_instance_bound_comes_first() -> None:
    assert refused(sample().data, limits=Limits(instance_bytes_max=10)).status == Status.BOUND_EXCEEDED


def only_refusals(data: bytes, syntax: str) -> Scan | None:
    try:
        return scan(data, syntax, LIMITS)
    except Refusal as caught:
        refusal = caught
    assert refusal.status in (Status.NOT_READABLE, Status.BOUND_EXCEEDED)
    assert len(refusal.comment) <= 64
    return None


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=200), syntax=st.sampled_from((*SYNTAXES, JPEG_2000)))
def test_any_bytes_are_judged_or_refused(data: bytes, syntax: str) -> None:
    only_refusals(data, syntax)
    only_refusals(FIRST + data, syntax)


SEEDS: dict[str, Callable[[], tuple[bytes, str]]] = {
    **{syntax: lambda syntax=syntax: (sample(syntax).data, syntax) for syntax in SYNTAXES},  # type: ignore[misc]
    "delimited": lambda: (encoded(header(), undefined=True), EXPLICIT),
    "encapsulated": lambda: (real("JPEG-lossy.dcm").data[-2000:], JPEG_2000),
}


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(sorted(SEEDS)),
    edits=st.lists(
        st.tuples(st.integers(0, 4000), st.sampled_from(("set", "drop", "add")), st.integers(0, 255)),
        min_size=1,
        max_size=8,
    ),
)
def test_any_damage_is_judged_or_refused(seed: str, edits: list[tuple[int, str, int]]) -> None:
    original, syntax = SEEDS[seed]()
    data = bytearray(original)
    for place, kind, value in edits:
        at = place % len(data)
        if kind == "set":
            data[at] = value
        elif kind == "drop":
            del data[at]
        else:
            data.insert(at, value)
    found = only_refusals(bytes(data), syntax)
    if found is not None:
        assert all(span.offset + span.length <= len(data) for span in found.elements.values())
