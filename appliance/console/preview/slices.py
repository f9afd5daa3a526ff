"""One image as it is sent to a browser: stored numbers of at most 16 bits, or colours of three bytes.

The browser applies the window, so that turning it costs no request.
Values of more bits are spread over 16, with a slope of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from appliance.console.preview.frame import one_frame
from appliance.console.preview.shown import Shown, shown
from appliance.console.preview.stack import Place
from appliance.worker.decode import Cells, Decoder
from appliance.worker.faults import DecodeError
from appliance.worker.pixels import GREYSCALE, NATIVE, PixelFormat
from appliance.worker.reading import Reader
from appliance.worker.values import Meaning, Rescale

_BITS_SENT = 16
_SAMPLES_MAX = 65_536
_PERCENTILES = (1.0, 99.0)
# What a decoder of these hands over is RGB already (PS3.3 C.7.6.3.1.2).
_RGB = frozenset({"RGB", "YBR_ICT", "YBR_RCT"})
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The pixels of one image, row by row, little endian, and what the browser must know of them."""

    body: bytes
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.body)


def read_slice(place: Place, header: Dataset, *, reader: Reader, decoder: Decoder, bytes_max: int) -> Slice:
    """Read one image.

    Raises:
        DecodeError: see its words.
        OSError: the bytes are gone.
    """
    instance, source = one_frame(place.instance, place.frame or 1, reader, bytes_max=bytes_max)
    pixels = PixelFormat.of(instance.facts)
    looks = shown(header, place.frame)
    native = instance.transfer_syntax_uid in NATIVE
    (cells,) = decoder.stored_frames(instance, source)
    if pixels.samples == 3:
        return _colours(_rgb(cells, pixels, native=native), place, looks)
    if pixels.photometric not in GREYSCALE:
        raise DecodeError("decode.unsupported", "The preview shows grey and RGB images, and this is neither.")
    return _greys(cells, pixels, place, looks)


def _greys(cells: Cells, pixels: PixelFormat, place: Place, looks: Shown) -> Slice:
    """Take the stored bits, without what else lies in the cells."""
    values = np.empty(cells.shape, np.float32)
    Meaning(pixels=pixels, rescale=Rescale(), padding=None, turned_over=False).fill(cells, values, None)
    slope, intercept = looks.slope, looks.intercept
    if pixels.bits_stored > _BITS_SENT:
        low, high = float(values.min()), float(values.max())
        step = (high - low) / (2**_BITS_SENT - 1) or 1.0
        sent: NDArray[Any] = np.round((values - low) / step).astype("<u2")
        slope, intercept = slope * step, intercept + slope * low
    else:
        sent = values.astype(_kind(pixels))
    about = {
        "kind": sent.dtype.str.lstrip("|<"),
        "slope": slope,
        "intercept": intercept,
        "inverted": pixels.photometric == "MONOCHROME1",
        "window": looks.window,
        "range": _range(sent, slope, intercept),
        "units": looks.units,
    }
    return _slice(sent, about, place, looks)


def _kind(pixels: PixelFormat) -> str:
    if pixels.signed:
        return "<i2"
    return "|u1" if pixels.bits_stored <= 8 else "<u2"


def _range(sent: NDArray[Any], slope: float, intercept: float) -> tuple[float, float]:
    """Give centre and width of what nearly all values lie in, of a sample of them."""
    sample = sent.ravel()[:: max(1, sent.size // _SAMPLES_MAX)]
    low, high = (float(end) * slope + intercept for end in np.percentile(sample, _PERCENTILES))
    return (low + high) / 2, max(abs(high - low), abs(slope))


def _rgb(cells: Cells, pixels: PixelFormat, *, native: bool) -> NDArray[np.uint8]:
    """Return uint8 (rows, columns, 3) in red, green and blue."""
    if pixels.bits_stored != 8 or pixels.photometric not in _RGB | _YBR:
        raise DecodeError("decode.unsupported", "The preview shows colours of 8 bits in RGB or YBR.")
    if native and pixels.planar:
        cells = cells.reshape(3, pixels.rows, pixels.columns).transpose(1, 2, 0)
    if pixels.photometric in _RGB:
        return np.ascontiguousarray(cells, np.uint8)
    luma, blue, red = (cells[..., sample].astype(np.float32) for sample in range(3))
    blue, red = blue - 128, red - 128
    mixed = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1)
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _colours(rgb: NDArray[np.uint8], place: Place, looks: Shown) -> Slice:
    return _slice(rgb, {"kind": "rgb"}, place, looks)


def _slice(sent: NDArray[Any], about: dict[str, Any], place: Place, looks: Shown) -> Slice:
    size = {"rows": sent.shape[0], "columns": sent.shape[1], "aspect": looks.aspect}
    edges = place.edges or looks.looks
    return Slice(body=sent.tobytes(), about=about | size | {"edges": edges if len(edges) == 2 else ()})
