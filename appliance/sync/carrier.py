"""The public tree of a registry as something that bytes are read from: a server, or a folder on a stick.

Promises: every wait for a server ends (one for a share that hangs is the kernel's); a page for people in
place of a list is told apart from a list; nothing outside of the tree is read.
Never: trusts a carrier. Whatever it gives is held against signed lists by `appliance.sync.trust`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx

from appliance.core.clock import SYSTEM
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.watch import Watch, Wire

_MISSING = (403, 404)
# RFC 6585 section 6; a redirect elsewhere is how portals did it before there was a status for it.
_LOG_IN_FIRST = 511
_MARKUP = b"<"


class NotThere(Exception):
    """The carrier has no such file."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file from `start` on, in bytes; the carrier may begin at 0 though it was asked for less."""

    start: int
    chunks: Iterator[bytes]


class Carrier(Protocol):
    """What a tree can be read from."""

    def part(self, path: str, *, start: int, seconds_max: float) -> AbstractContextManager[Part]:
        """Give a file of the tree from a byte on.

        Raises:
            NotThere: there is no such file.
            Refusal: the carrier does not carry.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def carrier_of(url: str, *, limits: FetchLimits = FETCH) -> Carrier:
    """Return what reads the tree at a configured address."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(root=Path(url2pathname(unquote(parts.path))), limits=limits)
    return Server(url=url, limits=limits)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A tree in a folder: a stick, or a share that is mounted."""

    root: Path
    limits: FetchLimits = FETCH

    @contextmanager
    def part(self, path: str, *, start: int, seconds_max: float) -> Iterator[Part]:
        """Give a file of the tree from a byte on."""
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.root.resolve()):
            raise Refusal(Word.TAMPERED, "a list names a file outside of the registry's folder")
        try:
            with place.open("rb") as file:
                file.seek(start)
                yield Part(start=start, chunks=self._chunks(file, SYSTEM.elapsed() + seconds_max))
        except FileNotFoundError as error:
            raise self._gone() if not self.root.is_dir() else NotThere(path) from error
        except OSError as error:
            raise self._gone(error.strerror) from error

    def close(self) -> None:
        """Let go of what is open: nothing is, between two files."""

    def _chunks(self, file: Any, until: float) -> Iterator[bytes]:
        while chunk := file.read(self.limits.chunk_bytes):
            yield chunk
            _in_time(until)
        if not self.root.is_dir():
            raise self._gone()

    def _gone(self, why: str | None = None) -> Refusal:
        said = "it is not there" if why is None else why
        return Refusal(Word.CARRIER_GONE, f"the folder with the registry cannot be read: {said}")


class Server:
    """A tree behind HTTP. Proxies come from the environment, authorities from the machine's own store."""

    def __init__(self, *, url: str, limits: FetchLimits = FETCH) -> None:
        """Take the address of the tree."""
        self._url = url.rstrip("/")
        waits = httpx.Timeout(limits.silence_seconds_max, connect=limits.connect_seconds_max)
        # One line at a time: what the watch ends is what is under way.
        self._line = Wire()
        self._client = httpx.Client(
            verify=ssl.create_default_context(), timeout=waits, limits=httpx.Limits(max_connections=1)
        )

    @contextmanager
    def part(self, path: str, *, start: int, seconds_max: float) -> Iterator[Part]:
        """Give a file of the tree from a byte on."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with Watch(self._line, seconds_max) as watch:
            try:
                with self._client.stream(
                    "GET", f"{self._url}/{path}", headers=headers, extensions={"trace": self._line.follow}
                ) as response:
                    yield self._judged(response, path)
                if watch.ended:
                    raise _late()
            except httpx.HTTPError as error:
                raise _said(error, ended=watch.ended) from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _judged(self, response: httpx.Response, path: str) -> Part:
        status = response.status_code
        if status in _MISSING:
            raise NotThere(path)
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Part(start=0, chunks=iter(()))
        if status == _LOG_IN_FIRST:
            raise _portal()
        if response.is_redirect:
            raise Refusal(
                Word.CAPTIVE_PORTAL,
                "the address leads elsewhere: to a log-in page of this network, or registry.url is not where"
                " the registry is",
            )
        if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise Refusal(Word.UNREACHABLE, f"the registry, or a proxy before it, answers with {status}")
        began = _began(response) if status == httpx.codes.PARTIAL_CONTENT else 0
        # As it comes: what a chunk of a fixed size had gathered would be lost when the link breaks.
        chunks = response.iter_raw()
        return Part(start=began, chunks=chunks if began else _no_page(chunks))


def read_all(carrier: Carrier, path: str, *, bytes_max: int, limits: FetchLimits = FETCH) -> bytes:
    """Read a small file whole.

    Raises:
        NotThere: there is no such file.
        Refusal: ENDLESS_DATA when it does not end; MIX_AND_MATCH when it is longer than it was signed to be.
    """
    data = bytearray()
    with carrier.part(path, start=0, seconds_max=limits.list_seconds_max) as part:
        for chunk in part.chunks:
            data += chunk
            if len(data) > bytes_max + limits.slack_bytes:
                raise Refusal(
                    Word.ENDLESS_DATA, f"{path} does not end after the {bytes_max} bytes it may have"
                )
    if len(data) > bytes_max:
        raise Refusal(Word.MIX_AND_MATCH, f"{path} is longer than the {bytes_max} bytes it may have")
    return bytes(data)


def _no_page(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Refuse a page: neither a list nor a package begins with markup."""
    looked = False
    for chunk in chunks:
        if not looked and chunk.strip():
            looked = True
            if chunk.lstrip().startswith(_MARKUP):
                raise _portal()
        yield chunk


def _began(response: httpx.Response) -> int:
    """Return where a part begins (RFC 9110 section 14.4)."""
    unit, _, span = response.headers.get("content-range", "").partition(" ")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        raise Refusal(Word.NOT_A_REGISTRY, "the server gives a part of a file and does not say which")
    return int(first)


def _portal() -> Refusal:
    return Refusal(
        Word.CAPTIVE_PORTAL,
        "a web page came in place of the registry: a log-in page or a filter of this network is in between",
    )


def _said(error: httpx.HTTPError, *, ended: bool) -> Refusal:
    if ended:
        return _late()
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Refusal(Word.UNREACHABLE, f"the registry cannot be reached: {error}")
    if isinstance(error, httpx.TimeoutException):
        return Refusal(Word.TOO_SLOW, "the registry fell silent in the middle; what came is kept")
    return Refusal(Word.CUT_OFF, f"the connection broke off ({type(error).__name__}); what came is kept")


def _in_time(until: float) -> None:
    if SYSTEM.elapsed() > until:
        raise _late()


def _late() -> Refusal:
    return Refusal(Word.TOO_SLOW, "the transfer was ended at its deadline; what came is kept")
