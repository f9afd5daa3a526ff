"""The size a compressed frame says it has, in its own words.

A decoder gives as many pixels as the stream holds; when rows and columns of the header have the same product,
nobody else would notice that they are not the stream's.
Used only inside the decoder child: what it reads comes from strangers.
"""

from __future__ import annotations

from struct import Struct

_SIZ = Struct(">HHIIII")
_SEGMENT = Struct(">BBH")
_SOF = Struct(">BHH")
_J2K_START = b"\xff\x4f\xff\x51"
_JPEG_START = b"\xff\xd8"
# Start of frame: C0 to CF but for the Huffman, extension and arithmetic tables, and F7 of JPEG-LS.
_FRAME_STARTS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}


def size_of(frame: bytes) -> tuple[int, int] | None:
    """Give (rows, columns) of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None where it does not say.

    Run length encoding says nothing, and a JPEG 2000 stream in a file wrapper is not looked into.
    """
    if frame.startswith(_J2K_START):
        return _j2k_size(frame)
    return _jpeg_size(frame) if frame.startswith(_JPEG_START) else None


def _j2k_size(frame: bytes) -> tuple[int, int] | None:
    """Read the SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    if len(frame) < len(_J2K_START) + _SIZ.size:
        return None
    _, _, right, bottom, left, top = _SIZ.unpack_from(frame, len(_J2K_START))
    return bottom - top, right - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Walk the segments to the start of frame (ISO/IEC 10918-1 B.2.2); every step moves on."""
    at = len(_JPEG_START)
    while at + _SEGMENT.size + _SOF.size <= len(frame):
        mark, kind, length = _SEGMENT.unpack_from(frame, at)
        if mark != 0xFF:
            return None
        if kind == 0xFF:
            at += 1
            continue
        if kind in _FRAME_STARTS:
            _, rows, columns = _SOF.unpack_from(frame, at + _SEGMENT.size)
            # Rows may be told only after the scan (DNL).
            return (rows, columns) if rows else None
        at += 2 + length
    return None
