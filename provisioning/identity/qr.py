"""A QR code (ISO/IEC 18004) as text, for a terminal, a label printer or a page."""

from __future__ import annotations

import io

import segno

# What a phone still reads from a screen; a code of 20 is 97 squares wide.
_CHARACTERS_MAX = 850


def fits(text: str) -> bool:
    """Say whether a text fits a code that people can still scan."""
    return len(text.encode()) <= _CHARACTERS_MAX


def qr_text(text: str) -> str:
    """Return a code as lines of half blocks, with its quiet border."""
    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(out=drawn, compact=True, border=2)
    return drawn.getvalue()
