"""What is taken at a glance is what a closer look would have found; anything else is left where it lies."""

from __future__ import annotations

import socket
from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.fragment import take_usual
from dicom_node.reader import Bell, Reader

BYTES_MAX = 1000
CONTEXT = 3


def glanced(sent: bytes) -> tuple[tuple[int, int] | None, bytes]:
    """Return what was taken, and what the reader has left."""
    ours, theirs = socket.socketpair()
    bell = Bell()
    try:
        with ours, theirs:
            ours.settimeout(5)
            theirs.sendall(sent)
            reader = Reader(ours, bell, lambda: False)
            taken = take_usual(reader, CONTEXT, BYTES_MAX)
            return taken, bytes(reader.exactly(len(sent) - (12 if taken else 0), None))
    finally:
        bell.close()


def header(
    *, kind: int = 4, pdu: int = 106, item: int = 102, context: int = CONTEXT, control: int = 0
) -> bytes:
    return pack(">BxLLBB", kind, pdu, item, context, control)


def test_the_next_fragment_is_taken_with_its_control_header_and_length() -> None:
    assert glanced(header() + b"data") == ((0, 100), b"data")
    assert glanced(header(control=2) + b"data") == ((2, 100), b"data")


def test_headers_that_came_in_part_are_left_for_a_closer_look() -> None:
    assert glanced(header()[:11]) == (None, header()[:11])


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([1, 4, 5, 7, 9]),
    pdu=st.sampled_from([0, 4, 5, 6, 106, BYTES_MAX, BYTES_MAX + 1, 2**32 - 1]),
    less=st.sampled_from([0, 4, 4, 4, 5, 10]),
    context=st.sampled_from([1, CONTEXT]),
    control=st.sampled_from([0, 1, 2, 3]),
)
def test_anything_unusual_is_left_for_a_closer_look(
    kind: int, pdu: int, less: int, context: int, control: int
) -> None:
    sent = header(kind=kind, pdu=pdu, item=max(0, pdu - less), context=context, control=control)
    usual = kind == 4 and less == 4 and 6 <= pdu <= BYTES_MAX and context == CONTEXT and not control & 1
    assert glanced(sent) == (((control, pdu - 6), b"") if usual else (None, sent))
