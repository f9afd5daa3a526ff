"""Pictures show the mask's edge in its colour, with square pixels, and words below."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from appliance.results.limits import Limits
from appliance.results.picture import Line, Shape, draw, png, words_only

GREY = np.full((64, 64), 50, dtype=np.float32)
RED = (255, 0, 0)


def square(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def drawn(pixels=GREY, *, mask=None, spacing=(1.0, 1.0), lines=(), limits=None, window=(50, 100)):
    shapes = [] if mask is None else [Shape(mask=mask, colour=RED)]
    limits = limits or Limits(picture_pixels_min=640)
    return draw(pixels, window=window, pixel_spacing_mm=spacing, shapes=shapes, lines=lines, limits=limits)


def red(picture: np.ndarray) -> np.ndarray:
    return np.asarray((picture == RED).all(axis=2))


def test_the_edge_of_the_mask_is_coloured_and_its_inside_is_not():
    picture = drawn(mask=square(10, 20, 30, 40))
    found = red(picture)
    rows, columns = np.nonzero(found)
    assert (rows.min(), columns.min()) == (100, 200)
    assert (rows.max(), columns.max()) == (299, 399)
    assert not found[110:290, 210:390].any()
    assert found[100:102, 200:400].all()


def test_a_mask_at_the_border_of_the_image_has_an_edge_there():
    assert red(drawn(mask=square(0, 0, 64, 64)))[0, :640].all()


@pytest.mark.parametrize(("spacing", "size"), [((2.0, 1.0), (640, 320)), ((1.0, 2.0), (320, 640))])
def test_pixels_are_square_whatever_the_spacing(spacing, size):
    picture = drawn(spacing=spacing)
    words = picture.shape[0] - size[0]
    assert picture.shape[1] == size[1]
    assert 0 <= words <= 40


def test_the_size_is_bounded():
    limits = Limits(picture_pixels_min=100, picture_pixels_max=300)
    assert drawn(np.zeros((1000, 500), dtype=np.float32), limits=limits).shape[1] == 150


def test_the_window_maps_to_black_and_white():
    ramp = np.tile(np.array([-1000, 0, 50, 100, 1000], dtype=np.float32), (5, 1))
    row = drawn(ramp, limits=Limits(picture_pixels_min=5))[2, :, 0]
    assert row[0] == row[1] == 0
    assert row[3] == row[4] == 255
    assert row[2] == pytest.approx(127, abs=1)


def test_words_stand_below_and_long_ones_are_wrapped():
    one = drawn(lines=[Line(text="word")])
    many = drawn(lines=[Line(text="word " * 60)])
    assert many.shape[0] > one.shape[0] > 640
    assert (one[640:] > 200).any()
    assert many[:, -10:].max() < 200


def test_a_line_with_a_colour_has_a_square_of_it():
    assert red(drawn(lines=[Line(text="bone", colour=RED)]))[640:].sum() > 80


def tag(mask: np.ndarray, text: str, tag_pixels: int | None = None) -> np.ndarray:
    """Give where a tag is written: bool, (row, column)."""
    said = [
        draw(
            GREY,
            window=(50, 100),
            pixel_spacing_mm=(1, 1),
            shapes=[Shape(mask=mask, colour=RED, tag=words)],
            lines=[],
            limits=Limits(picture_pixels_min=640),
            tag_pixels=tag_pixels,
        )
        for words in ("", text)
    ]
    return np.asarray((said[0] != said[1]).any(axis=2))


def test_a_shape_with_a_tag_is_named_beside_it_as_large_as_asked():
    heights = [np.ptp(np.nonzero(tag(square(10, 10, 20, 20), "7", size))[0]) for size in (None, 40)]
    assert 8 < heights[0] < 20 < heights[1] < 50


def test_a_tag_at_the_right_border_is_written_in_full():
    inside, border = (tag(square(30, left, 40, left + 4), "Lesion 117", 26) for left in (10, 60))
    assert np.ptp(np.nonzero(inside)[1]) > 100
    assert np.ptp(np.nonzero(border)[1]) == np.ptp(np.nonzero(inside)[1])


def test_a_page_of_words_is_square_at_least_and_not_empty():
    page = words_only([Line(text="NOT ANALYSED", loud=True)], size=400)
    assert page.shape == (400, 400, 3)
    assert (page > 150).any()
    assert not page[:100].any()


def test_equal_pictures_are_equal_png_files_that_read_back():
    picture = drawn(mask=square(1, 1, 9, 9))
    assert png(picture) == png(picture.copy())
    assert (np.array(Image.open(BytesIO(png(picture)))) == picture).all()
