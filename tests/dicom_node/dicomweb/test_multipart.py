"""Bodies of many parts, cut up in every way, and those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.multipart import Malformed, Parts, body_of, boundary_of, media_type, new_boundary


class Taken:
    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytes]] = []
        self.open: bytearray | None = None
        self._fields: dict[str, str] = {}

    def begin(self, fields):
        assert self.open is None
        self.open, self._fields = bytearray(), dict(fields)

    def data(self, piece):
        assert self.open is not None
        self.open += piece

    def end(self):
        assert self.open is not None
        self.parts.append((self._fields, bytes(self.open)))
        self.open = None


def parted(body: bytes, *, boundary: bytes = b"b", step: int = 7, **limits: int) -> Taken:
    taken = Taken()
    parts = Parts(boundary, taken, WebLimits(**limits))
    for at in range(0, len(body), step):
        parts.feed(body[at : at + step])
    parts.finish()
    return taken


@given(
    contents=st.lists(st.binary(max_size=60) | st.text("\r\n-b", max_size=12).map(str.encode), max_size=4),
    step=st.integers(1, 80),
)
def test_what_is_put_together_comes_apart_however_it_is_cut(contents, step):
    boundary = new_boundary(contents)
    body = b"".join(body_of([[one] for one in contents], boundary))
    taken = parted(body, boundary=boundary.encode(), step=step)
    assert [part for _, part in taken.parts] == contents
    assert all(fields == {"content-type": "application/dicom"} for fields, _ in taken.parts)


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_preamble_padding_folds_and_epilogue_are_what_rfc_2046_lets_them_be(step):
    body = (
        b"to be ignored\r\n--b \t\r\nContent-Type: application/dicom;\r\n transfer-syntax=*\r\nX-Y:z\r\n\r\n"
        b"one"
        b"\r\n--b\r\n\r\ntwo\r\n--bc is not it\r\n--b--\r\n--b\r\n\r\nafter the end"
    )
    with pytest.raises(Malformed, match="something else"):
        parted(body, step=step)
    taken = parted(body.replace(b"\r\n--bc", b"\r\n--c"), step=step)
    assert taken.parts == [
        ({"content-type": "application/dicom; transfer-syntax=*", "x-y": "z"}, b"one"),
        ({}, b"two\r\n--c is not it"),
    ]


def test_the_first_boundary_may_be_the_first_line():
    assert parted(b"--b\r\n\r\none\r\n--b--").parts == [({}, b"one")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b",
        b"--b\r\n",
        b"--b\r\n\r\ncut",
        b"--b\r\n\r\ncut\r\n--b",
        b"--b\r\n\r\ncut\r\n--b\r\n",
        b"--bb\r\n\r\none\r\n--bb--",
        b"--b x\r\n\r\none\r\n--b--",
        b"--b" + b" " * 100 + b"\r\n\r\none\r\n--b--",
        b"--b\r\nno colon\r\n\r\none\r\n--b--",
        b"--b\r\nA: 1\r\nA: 2\r\n\r\none\r\n--b--",
        b"--b\r\nA: \0\r\n\r\none\r\n--b--",
        b"--b\n\none\n--b--",
    ],
)
def test_what_is_no_multipart_body_is_malformed(body):
    for step in (1, 5, 1000):
        with pytest.raises(Malformed):
            parted(body, step=step)


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"x" * 200 + b"\r\n--b\r\n\r\n\r\n--b--", {"preamble_bytes_max": 100}),
        (b"--b\r\nA: " + b"x" * 200 + b"\r\n\r\n\r\n--b--", {"part_head_bytes_max": 100}),
        (
            b"--b\r\n" + b"".join(b"A%d: 1\r\n" % n for n in range(9)) + b"\r\n\r\n--b--",
            {"part_fields_max": 8},
        ),
        (b"--b\r\n\r\nx\r\n" * 9 + b"--b--", {"parts_max": 8}),
    ],
)
def test_bounds_are_kept(body, limits):
    for step in (1, 64, 10_000):
        with pytest.raises(Malformed):
            parted(body, step=step, **limits)


def test_an_endless_preamble_costs_no_memory():
    parts = Parts(b"b", Taken(), WebLimits(preamble_bytes_max=10**9))
    for _ in range(100):
        parts.feed(b"x" * 10_000)
    assert len(parts._waiting) < 100


@pytest.mark.parametrize(
    ("text", "kind", "parameters"),
    [
        ('Multipart/Related; Type="application/dicom"; boundary=x', "multipart/related",
         {"type": "application/dicom", "boundary": "x"}),
        ('a/b;boundary="with \\"quotes\\" and ; in it"', "a/b", {"boundary": 'with "quotes" and ; in it'}),
        ("a/b", "a/b", {}),
        ("a/b;", "a/b", {}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_media_types(text, kind, parameters):
    assert media_type(text) == (kind, parameters)


@pytest.mark.parametrize("text", ["a/b; boundary", "a/b; x=1; x=2", 'a/b; boundary="open', "a/b; =x"])
def test_a_media_type_with_a_broken_parameter_is_malformed(text):
    with pytest.raises(Malformed):
        media_type(text)


@pytest.mark.parametrize("boundary", ["", "x" * 129, "ends with a space ", "li\r\nne", "umläut"])
def test_a_boundary_that_may_not_be(boundary):
    with pytest.raises(Malformed):
        boundary_of({"boundary": boundary})
