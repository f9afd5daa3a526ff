"""What is printed of a patient's data is right, or says that it is not the whole."""

from __future__ import annotations

import time

import pytest
from pydicom.valuerep import PersonName
from reportlab.pdfbase import pdfmetrics

from appliance.results.lettering import NOT_WRITABLE, PLAIN, wrapped, writable, written, written_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Doe^Jane", "Doe, Jane"),
        ("Müller^Jürgen^Karl^Dr", "Müller, Jürgen Karl Dr"),
        ("Şahin^Ömer", "Şahin, Ömer"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "Hong, Gildong"),
        ("Wałęsa^Lech", "Wałesa, Lech (accents left out)"),
        ("Nguyễn^Văn", "Nguyen, Van (accents left out)"),
        ("山田^太郎=Yamada^Tarou", "Yamada, Tarou"),
        ("=山田^太郎", NOT_WRITABLE),
        ("Люкceмбypг", NOT_WRITABLE),
        ("", ""),
        (None, ""),
    ],
)
def test_a_name_is_printed_in_letters_that_the_page_has(name, expected):
    value = None if name is None else PersonName(name)
    assert written_name(value) == expected
    assert writable(expected)


@pytest.mark.parametrize("text", ["肺", "a肺", "\ufffd", "שלום", "\x1b$B"])
def test_what_the_font_lacks_is_never_printed_as_another_letter(text):
    assert written(text) == NOT_WRITABLE


def test_lines_and_lengths_are_bounded_and_a_cut_is_told():
    assert written("a\r\n b\tc") == "a b c"
    assert written("x" * 5000).endswith("x ... (cut)")
    assert len(written("x" * 5000)) < 250


def test_words_wrap_and_a_word_too_long_is_cut_without_loss():
    text = "some words " + "x" * 300
    lines = wrapped(text, font=PLAIN, size=9, width=100)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(pdfmetrics.stringWidth(line, PLAIN, 9) <= 100 for line in lines)
    assert wrapped("", font=PLAIN, size=9, width=100) == [""]


def test_a_word_of_any_length_is_wrapped_in_bounded_time():
    began = time.process_time()
    wrapped("i" * 100_000, font=PLAIN, size=9, width=100)
    assert time.process_time() - began < 20
