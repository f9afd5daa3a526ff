"""All pictures of a walk on one page, for a person who wants to see at a glance what a viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_CELL = (420, 255)
_TITLE = 22
_COLUMNS = 4
NAME = "contact-sheet.png"


def contact_sheet(folder: Path, names: Sequence[str]) -> Path:
    """Write the pictures of a folder side by side, each under its name."""
    paths = [path for name in names for path in _pictures(folder, name)]
    rows = -(-max(len(paths), 1) // _COLUMNS)
    page = Image.new("RGB", (_COLUMNS * _CELL[0], rows * (_CELL[1] + _TITLE)), "black")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for number, path in enumerate(paths):
        left, top = number % _COLUMNS * _CELL[0], number // _COLUMNS * (_CELL[1] + _TITLE)
        with Image.open(path) as picture:
            page.paste(picture.convert("RGB").resize(_CELL), (left, top + _TITLE))
        pen.text((left + 4, top + 3), path.stem, fill="white", font=font)
    target = folder / NAME
    page.save(target)
    return target


def _pictures(folder: Path, name: str) -> list[Path]:
    wanted = [folder / f"{name}{suffix}.png" for suffix in ("", "-loaded", "-fault")]
    return [path for path in wanted if path.exists()]
