"""One A4 page, written from the top downwards, as PDF (ISO 32000-1).

Text is drawn as it is: nothing on a page is markup, whatever a peer sent.
Promises: text is text, its fonts are embedded; equal calls give equal bytes; a page that cannot hold all its
text says so at its foot.
Never: a second page.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO

from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from appliance.results.lettering import BOLD, PLAIN, wrapped
from appliance.results.picture import RgbArray

MARGIN = 42.0
WIDTH = A4[0] - 2 * MARGIN
_LEADING = 1.35
_GREY = 0.35
_LINE_GREY = 0.8
_ALARM = (0.72, 0.07, 0.07)
_PALE = (0.99, 0.94, 0.94)
_FULL = "This page is full and does not hold everything; the structured report does."


class Sheet:
    """A page that is being written; `top` is the height in points below which it is still empty."""

    def __init__(self, *, title: str, author: str, at: datetime) -> None:
        """Begin a page whose document properties hold a title, an author and the time `at`."""
        self._buffer = BytesIO()
        # Invariant: no clock and no random identifier gets into the file.
        self._canvas = Canvas(
            self._buffer, pagesize=A4, invariant=1, pageCompression=1, initialFontName=PLAIN
        )
        self._canvas.setTitle(title)
        self._canvas.setAuthor(author)
        self._canvas.setCreator(author)
        self._canvas.setSubject(title)
        made_at = at.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
        self._canvas.setDateFormatter(lambda *_: made_at)
        self.top: float = A4[1] - MARGIN
        self._full = False

    @property
    def room(self) -> float:
        """Give the height that is left above the lower margin, in points."""
        return self.top - MARGIN

    def space(self, points: float) -> None:
        """Leave some room empty."""
        self.top -= points

    def text(
        self,
        text: str,
        *,
        size: float = 9.0,
        bold: bool = False,
        faint: bool = False,
        left: float = 0.0,
        width: float = WIDTH,
    ) -> None:
        """Write a text, wrapped to a width, and go below it; what does not fit on the page is told there."""
        font = BOLD if bold else PLAIN
        self._canvas.setFillGray(_GREY if faint else 0.0)
        for line in wrapped(text, font=font, size=size, width=width):
            if self.room < size * _LEADING:
                self._full = True
                return
            self.top -= size * _LEADING
            self._canvas.setFont(font, size)
            self._canvas.drawString(MARGIN + left, self.top + size * 0.3, line)

    def heading(self, text: str) -> None:
        """Write the heading of a part, with a rule under it."""
        self.space(9)
        self.text(text, size=10.5, bold=True)
        self.rule()
        self.space(2)

    def rule(self) -> None:
        """Draw a thin line across the page."""
        self._canvas.setStrokeGray(_LINE_GREY)
        self._canvas.line(MARGIN, self.top, MARGIN + WIDTH, self.top)

    def alarm(self, text: str) -> None:
        """Write a warning in a box that nobody overlooks."""
        lines = wrapped(text, font=BOLD, size=10, width=WIDTH - 16)
        height = len(lines) * 10 * _LEADING + 8
        self._canvas.setFillColorRGB(*_PALE)
        self._canvas.setStrokeColorRGB(*_ALARM)
        self._canvas.roundRect(MARGIN, self.top - height, WIDTH, height, 4, stroke=1, fill=1)
        self._canvas.setFillColorRGB(*_ALARM)
        self._canvas.setFont(BOLD, 10)
        for number, line in enumerate(lines, start=1):
            self._canvas.drawString(MARGIN + 8, self.top - number * 10 * _LEADING - 0.5, line)
        self.top -= height

    def row(
        self, cells: Sequence[str], *, widths: Sequence[float], size: float = 8.5, bold: bool = False
    ) -> None:
        """Write texts side by side, each wrapped to its share of the width; shares add up to 1 at most."""
        top, lowest, left = self.top, self.top, 0.0
        for cell, share in zip(cells, widths, strict=True):
            self.top = top
            self.text(cell, size=size, bold=bold, left=left, width=share * WIDTH - 6)
            lowest, left = min(lowest, self.top), left + share * WIDTH
        self.top = lowest

    def pictures(self, pictures: Sequence[tuple[RgbArray, str]], *, height: float) -> None:
        """Draw pictures side by side, each with a line of words under it, in a height in points."""
        share = WIDTH / max(len(pictures), 2)
        top, lowest = self.top - 4, self.top
        for number, (pixels, words) in enumerate(pictures):
            rows, columns = pixels.shape[:2]
            scale = min((share - 8) / columns, height / rows)
            left = MARGIN + number * share
            self._canvas.drawImage(
                ImageReader(Image.fromarray(pixels)),
                left,
                top - rows * scale,
                width=columns * scale,
                height=rows * scale,
            )
            self.top = top - rows * scale
            self.text(words, size=7, faint=True, left=number * share, width=share - 8)
            lowest = min(lowest, self.top)
        self.top = lowest

    def finished(self) -> bytes:
        """Close the page and give the file's bytes."""
        if self._full:
            self._canvas.setFillColorRGB(*_ALARM)
            self._canvas.setFont(BOLD, 9)
            self._canvas.drawString(MARGIN, MARGIN / 2, _FULL)
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()


def text_height(text: str, *, size: float, width: float = WIDTH) -> float:
    """Measure a text in the plain font before it is written, in points."""
    return len(wrapped(text, font=PLAIN, size=size, width=width)) * size * _LEADING


def row_height(cells: Sequence[str], *, widths: Sequence[float], size: float = 8.5) -> float:
    """Measure a row before it is written, in points."""
    return max(
        text_height(cell, size=size, width=share * WIDTH - 6)
        for cell, share in zip(cells, widths, strict=True)
    )
