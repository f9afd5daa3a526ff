"""Key pictures: one slice in grey, outlines in colour, and words below that make the picture stand alone.

Promises: square pixels whatever the spacing; every outline lies on its mask's edge; the caution is on every
picture; nothing but Pillow's own font is needed.
Never: writes patient data into pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from appliance.results.limits import DEFAULT, Limits
from models.tensors import BoolArray, FloatArray

Rgb = tuple[int, int, int]
RgbArray = npt.NDArray[np.uint8]

_WHITE: Rgb = (255, 255, 255)
_YELLOW: Rgb = (255, 220, 80)
_BLACK: Rgb = (0, 0, 0)
_MARGIN = 10
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD, _PNG_COUNT = Struct(">IIBBBBB"), Struct(">I")
_PNG_RGB = 2
# The words of the pictures of a result are nearly the same on each.
_WRAPPED_MAX = 256
_TAG_ROOM = 40


@dataclass(frozen=True, kw_only=True)
class Line:
    """Hold one line of words; a colour puts a square of it in front."""

    text: str
    colour: Rgb | None = None
    loud: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """Hold one region on the slice: bool, (row, column), its colour and the text beside it."""

    mask: BoolArray
    colour: Rgb
    tag: str = ""


def draw(
    pixels: FloatArray,
    *,
    window: tuple[float, float],
    pixel_spacing_mm: tuple[float, float],
    shapes: Sequence[Shape],
    lines: Sequence[Line],
    limits: Limits = DEFAULT,
    tag_pixels: int | None = None,
) -> RgbArray:
    """Draw one slice with its outlines and words: uint8, (row, column, 3).

    Args:
        pixels: float32, (row, column), rescaled values.
        window: centre and width in the same units (PS3.3 C.11.2.1.2).
        pixel_spacing_mm: distance between rows, distance between columns.
        shapes: regions to outline.
        lines: words below the image; without any there is nothing below it.
        limits: bounds of the picture's size.
        tag_pixels: height of the tags beside the regions; None for that of words in a picture of its width.
    """
    size = _size(pixels.shape, pixel_spacing_mm, limits)
    image = Image.fromarray(_grey(pixels, window)).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    canvas = np.array(image)
    masks = [_scaled(shape.mask, size) for shape in shapes]
    for shape, mask in zip(shapes, masks, strict=True):
        canvas[_edge(mask)] = shape.colour
    image = Image.fromarray(canvas)
    _tag(image, shapes, masks, tag_pixels or _text_height(size[0]))
    return np.vstack([np.array(image), _words(size[0], lines)]) if lines else np.array(image)


def words_only(lines: Sequence[Line], *, size: int = DEFAULT.picture_pixels_min) -> RgbArray:
    """Draw a page of words, at least square: uint8, (row, column, 3)."""
    page = _words(size, lines, height=_text_height(size) * 3 // 2)
    # Viewers write over the upper corners, so the words stand in the middle.
    above = max(0, size - len(page)) // 2
    below = max(0, size - len(page) - above)
    return np.pad(page, ((above, below), (0, 0), (0, 0)))


def png(picture: RgbArray) -> bytes:
    """Encode a picture as PNG, the same bytes for the same picture.

    With the least effort and rows as they are: it is looked at on this box, and trying which filter fits each
    row best takes longer than all else and saves a tenth.
    """
    rows, columns, _ = picture.shape
    # Each row begins with its filter: 0, none (ISO/IEC 15948, 9.2).
    lines = np.pad(picture.reshape(rows, -1), ((0, 0), (1, 0)))
    head = _PNG_HEAD.pack(columns, rows, 8, _PNG_RGB, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return _PNG_COUNT.pack(len(data)) + name + data + _PNG_COUNT.pack(zlib.crc32(name + data))


def _size(shape: tuple[int, ...], spacing_mm: tuple[float, float], limits: Limits) -> tuple[int, int]:
    """Choose (width, height) in pixels so that both axes have one scale."""
    rows, columns = shape
    height_mm, width_mm = rows * spacing_mm[0], columns * spacing_mm[1]
    longest = min(max(rows, columns, limits.picture_pixels_min), limits.picture_pixels_max)
    scale = longest / max(height_mm, width_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _grey(pixels: FloatArray, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Apply a window linearly (PS3.3 C.11.2.1.3.2): uint8, (row, column)."""
    centre, width = window
    scaled = (pixels - (centre - width / 2)) * (255.0 / max(width, 1e-6))
    grey: npt.NDArray[np.uint8] = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
    return grey


def _scaled(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    grown = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    scaled: BoolArray = np.array(grown) > 0
    return scaled


def _edge(mask: BoolArray) -> BoolArray:
    """Give the two outermost pixels of a mask, those at the image border included."""
    edge: BoolArray = mask & ~ndimage.binary_erosion(mask, iterations=2)
    return edge


def _tag(image: Image.Image, shapes: Sequence[Shape], masks: Sequence[BoolArray], height: int) -> None:
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(height)
    for shape, mask in zip(shapes, masks, strict=True):
        if shape.tag and mask.any():
            rows, columns = np.nonzero(mask)
            room = max(_TAG_ROOM, round(pen.textlength(shape.tag, font=font)) + 4)
            left = max(min(int(columns.max()) + 4, image.width - room), 0)
            place = (left, max(int(rows.min()) - 4, 0))
            pen.text(place, shape.tag, fill=shape.colour, font=font, stroke_width=1, stroke_fill=_BLACK)


def _words(width: int, lines: Sequence[Line], *, height: int | None = None) -> RgbArray:
    """Draw lines of words on black, wrapped to the width: uint8, (row, column, 3)."""
    height = height or _text_height(width)
    font = ImageFont.load_default(height)
    step = round(height * 1.35)
    wrapped = [
        (part, line, first)
        for line in lines
        for part, first in _wrap(line.text, width - 2 * _MARGIN - (step if line.colour else 0), height)
    ]
    page = Image.new("RGB", (width, step * len(wrapped) + 2 * _MARGIN))
    pen = ImageDraw.Draw(page)
    for index, (part, line, first) in enumerate(wrapped):
        top = _MARGIN + index * step
        left = _MARGIN + (step if line.colour else 0)
        if line.colour and first:
            pen.rectangle((_MARGIN, top + 2, _MARGIN + height - 2, top + height), fill=line.colour)
        pen.text((left, top), part, fill=_YELLOW if line.loud else _WHITE, font=font)
    return np.array(page)


@lru_cache(_WRAPPED_MAX)
def _wrap(text: str, width: int, height: int) -> tuple[tuple[str, bool], ...]:
    """Break a text at spaces; say of each part whether it is the first."""
    font, pen = ImageFont.load_default(height), ImageDraw.Draw(Image.new("RGB", (1, 1)))
    parts = [""]
    for word in text.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and pen.textlength(longer, font=font) > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return tuple((part, index == 0) for index, part in enumerate(parts))


def _text_height(width: int) -> int:
    return max(13, width // 38)
