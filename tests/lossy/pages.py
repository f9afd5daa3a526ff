"""The content of a file, in pages; what was never written takes no room."""

from __future__ import annotations

from collections.abc import Iterator

PAGE_BYTES = 4096
NOTHING = bytes(PAGE_BYTES)


class Pages:
    """Bytes with holes; pages are never changed, only replaced, so that two contents may share them."""

    def __init__(self) -> None:
        self.size = 0
        self._pages: dict[int, bytes] = {}

    def __bytes__(self) -> bytes:
        return self.read(0, self.size)

    def page(self, number: int) -> bytes:
        """Return a page, whole; zeros where there is none."""
        return self._pages.get(number, NOTHING)

    def put_page(self, number: int, data: bytes) -> None:
        """Replace a page; the size stays."""
        if data == NOTHING:
            self._pages.pop(number, None)
        else:
            self._pages[number] = data

    def read(self, at: int, length: int) -> bytes:
        """Return what is there, up to the end."""
        end = min(at + length, self.size)
        if at >= end:
            return b""
        first, last = at // PAGE_BYTES, -(-end // PAGE_BYTES)
        whole = b"".join([self._pages.get(number, NOTHING) for number in range(first, last)])
        return whole[at - first * PAGE_BYTES : end - first * PAGE_BYTES]

    def write(self, at: int, data: bytes) -> range:
        """Write, and make it as long as that takes; return the pages."""
        touched = pages_of(at, len(data))
        for number, start, end in _parts(at, len(data)):
            piece = data[number * PAGE_BYTES + start - at : number * PAGE_BYTES + end - at]
            if len(piece) < PAGE_BYTES:
                old = self.page(number)
                piece = old[:start] + piece + old[end:]
            self.put_page(number, piece)
        self.size = max(self.size, at + len(data))
        return touched

    def clear(self, at: int, length: int) -> set[int]:
        """Let a range read as zeros; return the pages that held something there."""
        held = set(self._among(pages_of(at, length)))
        for number, start, end in _parts(at, length, held):
            old = self._pages[number]
            self.put_page(number, old[:start] + bytes(end - start) + old[end:])
        return held

    def resize(self, size: int) -> set[int]:
        """Make it so long; return the pages that lost something."""
        lost = self.clear(size, self.size - size) if size < self.size else set()
        self.size = size
        return lost

    def __copy__(self) -> Pages:
        other = Pages()
        other.size, other._pages = self.size, dict(self._pages)
        return other

    def _among(self, numbers: range) -> Iterator[int]:
        if len(numbers) > len(self._pages):
            return (number for number in list(self._pages) if number in numbers)
        return (number for number in numbers if number in self._pages)


def pages_of(at: int, length: int) -> range:
    """Return the numbers of the pages that a range lies in."""
    return range(at // PAGE_BYTES, -(-(at + length) // PAGE_BYTES))


def _parts(at: int, length: int, numbers: set[int] | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield each page of a range, and from where to where in it the range reaches."""
    for number in pages_of(at, length) if numbers is None else numbers:
        yield (
            number,
            max(at - number * PAGE_BYTES, 0),
            min(at + length - number * PAGE_BYTES, PAGE_BYTES),
        )
