"""A page is written from the top downwards and never over its end."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from appliance.results.sheet import MARGIN, Sheet, row_height, text_height

AT = datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)


def sheet() -> Sheet:
    return Sheet(title="Title", author="Author", at=AT)


def test_equal_calls_give_equal_bytes():
    files = []
    for _ in range(2):
        made = sheet()
        made.heading("Heading")
        made.text("Text with ü")
        made.pictures([(np.full((8, 8, 3), 90, dtype=np.uint8), "words")], height=50)
        files.append(made.finished())
    assert files[0] == files[1]


def test_a_row_is_as_high_as_its_highest_cell():
    made = sheet()
    cells = ("short", "long " * 40)
    before = made.top
    made.row(cells, widths=(0.5, 0.5))
    assert before - made.top == pytest.approx(row_height(cells, widths=(0.5, 0.5)))
    assert before - made.top > text_height("short", size=8.5)


def test_writing_stops_above_the_margin():
    made = sheet()
    for _ in range(200):
        made.text("line")
    assert MARGIN <= made.top < MARGIN + 20


def test_pictures_keep_their_shape_inside_their_share():
    made = sheet()
    before = made.top
    made.pictures([(np.zeros((100, 400, 3), dtype=np.uint8), "")], height=300)
    # Half of the width is 255 points, so a picture four times as wide as high is at most 64 high.
    assert before - made.top < 90
