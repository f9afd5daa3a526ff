"""Take a multipart body apart while it comes, and put one together (RFC 2046 5.1.1, RFC 2387, PS3.18 8.6.1).

Promises: constant memory; what is not plainly a multipart body ends in `Malformed`, however it is cut up.
Never: looks into a part.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final, Protocol

from dicom_node.dicomweb.limits import WebLimits

# RFC 2046 5.1.1: of these, and no space at the end. It allows 70 characters; Orthanc 1.10 sends 73.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,127}[0-9A-Za-z'()+_,\-./:=?]", re.ASCII)
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_PARAMETER: Final = re.compile(
    r"""[ \t;]*([!#$%&'*+\-.^_`|~\w]+)=(?:([^\s;",]+)|"((?:[^"\\]|\\.)*)")[ \t]*(?:;|$)""", re.ASCII
)
_PADDING_BYTES_MAX: Final = 64


class Malformed(Exception):
    """A body is not what its Content-Type says; the text holds nothing of it."""


class Sink(Protocol):
    """What gets the parts, one after the other."""

    def begin(self, fields: Mapping[str, str]) -> None:
        """Begin a part; `fields` are its header fields by their names in lower case."""

    def data(self, piece: memoryview) -> None:
        """Take the next bytes of the part; they are valid until this returns."""

    def end(self) -> None:
        """End the part: all of it came."""


class _State(Enum):
    PREAMBLE = auto()
    DELIMITER = auto()
    FIELDS = auto()
    BODY = auto()
    EPILOGUE = auto()


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type and its parameters, names and type in lower case (RFC 9110 8.3.1).

    Raises:
        Malformed: it is none.
    """
    kind, _, rest = text.partition(";")
    found: dict[str, str] = {}
    while rest.strip(" \t;"):
        match = _PARAMETER.match(rest)
        if match is None or match[1].lower() in found:
            raise Malformed("the media type has a parameter that is none, or one twice")
        quoted = match[3]
        found[match[1].lower()] = match[2] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        rest = rest[match.end() :]
    return kind.strip().lower(), found


def boundary_of(parameters: Mapping[str, str]) -> bytes:
    """Return the boundary of a multipart type.

    Raises:
        Malformed: there is none, or none that may be.
    """
    text = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(text):
        raise Malformed("the multipart type has no sound boundary")
    return text.encode("ascii")


class Parts:
    """One body on its way in."""

    def __init__(self, boundary: bytes, sink: Sink, limits: WebLimits) -> None:
        """Expect the first boundary."""
        self._delimiter = b"\r\n--" + boundary
        self._sink, self._limits = sink, limits
        # The first boundary may be the first line; every other follows a line's end.
        self._waiting = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._skipped = 0
        self.count = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the body.

        Raises:
            Malformed: they can belong to no multipart body, or one beyond the bounds.
        """
        if self._state is _State.EPILOGUE:
            return
        self._waiting += data
        steps = {
            _State.PREAMBLE: self._preamble,
            _State.DELIMITER: self._behind_delimiter,
            _State.FIELDS: self._fields,
            _State.BODY: self._body,
        }
        while (step := steps.get(self._state)) is not None and step():
            pass

    def finish(self) -> None:
        """Say that the body ended.

        Raises:
            Malformed: it ended before its last boundary.
        """
        if self._state is not _State.EPILOGUE:
            raise Malformed("the body ends before its last boundary")

    def _preamble(self) -> bool:
        at = self._waiting.find(self._delimiter)
        skipped = at if at >= 0 else max(len(self._waiting) - len(self._delimiter) + 1, 0)
        self._skipped += skipped
        if self._skipped > self._limits.preamble_bytes_max:
            raise Malformed("no boundary where the body begins")
        del self._waiting[:skipped]
        if at < 0:
            return False
        del self._waiting[: len(self._delimiter)]
        self._state = _State.DELIMITER
        return True

    def _behind_delimiter(self) -> bool:
        """Read to the end of the boundary's line; its CRLF stays, for a part may have no header field."""
        if self._waiting.startswith(b"--"):
            self._state = _State.EPILOGUE
            self._waiting.clear()
            return True
        at = self._waiting.find(b"\r\n", 0, _PADDING_BYTES_MAX)
        if at < 0 and len(self._waiting) < _PADDING_BYTES_MAX:
            return False
        if at < 0 or self._waiting[:at].strip(b" \t"):
            raise Malformed("a boundary is followed by something else")
        del self._waiting[:at]
        self.count += 1
        if self.count > self._limits.parts_max:
            raise Malformed("more parts than are taken at once")
        self._state = _State.FIELDS
        return True

    def _fields(self) -> bool:
        at = self._waiting.find(b"\r\n\r\n")
        if at > self._limits.part_head_bytes_max or (
            at < 0 and len(self._waiting) > self._limits.part_head_bytes_max
        ):
            raise Malformed("a part's header fields have no end")
        if at < 0:
            return False
        fields = _parsed(bytes(self._waiting[2:at]), self._limits.part_fields_max)
        del self._waiting[: at + 4]
        self._sink.begin(fields)
        self._state = _State.BODY
        return True

    def _body(self) -> bool:
        at = self._waiting.find(self._delimiter)
        ready = at if at >= 0 else len(self._waiting) - len(self._delimiter) + 1
        if ready > 0:
            with memoryview(self._waiting) as waiting:
                piece = bytes(waiting[:ready])
            self._sink.data(memoryview(piece))
            del self._waiting[:ready]
        if at < 0:
            return False
        del self._waiting[: len(self._delimiter)]
        self._sink.end()
        self._state = _State.DELIMITER
        return True


def _parsed(block: bytes, fields_max: int) -> dict[str, str]:
    """Return header fields by name; a folded line belongs to the one before (RFC 5322 2.2.3)."""
    lines: list[bytes] = []
    for line in block.split(b"\r\n") if block else []:
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += b" " + line.strip()
        else:
            lines.append(line)
    if len(lines) > fields_max:
        raise Malformed("a part has too many header fields")
    found: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Malformed("a part has a header field that is none")
        name = match[1].decode("ascii").lower()
        if name in found:
            raise Malformed("a part has a header field twice")
        found[name] = match[2].decode("latin-1").strip()
    return found


def new_boundary(objects: Iterable[bytes]) -> str:
    """Return a boundary that occurs in none of the objects."""
    objects = list(objects)
    while True:
        boundary = f"readside-{secrets.token_hex(16)}"
        if not any(boundary.encode() in one for one in objects):
            return boundary


def body_of(files: Sequence[Sequence[bytes]], boundary: str) -> list[bytes]:
    """Return a body of DICOM files, each given in pieces, as pieces (PS3.18 10.5.1)."""
    pieces: list[bytes] = []
    for file in files:
        pieces.append(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode())
        pieces += file
        pieces.append(b"\r\n")
    return [*pieces, f"--{boundary}--\r\n".encode()]
