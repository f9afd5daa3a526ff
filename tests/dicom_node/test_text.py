"""Text in the character sets of PS3.5 Annexes H to K, and in none."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from dicom_node.text import decode, encodings_of

EXAMPLES = [
    (["ISO_IR 100"], b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (["ISO_IR 192"], "王^小東".encode(), "王^小東"),
    (["GB18030"], "王^小东".encode("gb18030"), "王^小东"),
    (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    ),
    (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "Hong^Gildong=洪^吉洞",
    ),
    (["", "ISO 2022 IR 58"], b"Wang=\x1b$)A\xcd\xf5", "Wang=王"),
    ([], b"plain", "plain"),
    (["KLINGON"], b"plain", "plain"),
    (["ISO-IR 100"], b"J\xe9", "Jé"),
    (["iso_ir_192"], "é".encode(), "é"),
]


@pytest.mark.parametrize(("terms", "value", "text"), EXAMPLES)
def test_examples_of_the_standard(terms: list[str], value: bytes, text: str) -> None:
    assert decode(value, encodings_of(terms)) == text


def test_cyrillic() -> None:
    assert decode("Люкceмбypг".encode("iso8859_5", "replace"), encodings_of(["ISO_IR 144"])).startswith("Люк")


def test_bytes_that_make_no_sense_become_replacement_characters() -> None:
    assert decode(b"A\xff", encodings_of(["ISO_IR 192"])) == "A\ufffd"


def test_a_delimiter_resets_the_character_set() -> None:
    assert decode(b"\x1b-F\xe1^\xe9", encodings_of(["ISO_IR 100"])) == "α^é"


@given(
    terms=st.lists(st.one_of(st.sampled_from(sorted(python_encoding)), st.text(max_size=12)), max_size=4),
    value=st.lists(
        st.one_of(
            st.binary(max_size=8), st.sampled_from([b"\x1b", b"\x1b$B", b"\x1b$)C", b"\x1b(J", b"\x1b$(D"])
        ),
        max_size=8,
    ),
)
def test_no_bytes_raise_or_warn(terms: list[str], value: list[bytes]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = decode(b"".join(value), encodings_of(terms))
    assert "\0" not in text
    text.encode("utf-8")
