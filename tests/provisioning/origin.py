"""A real HTTP server on loopback over a registry's public tree, which can be told to misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fault = Callable[["Answer"], bool]


@dataclass
class Asked:
    """One request: which file, and from which byte."""

    path: str
    start: int


@dataclass
class Origin:
    """What is served, how it misbehaves, and what it was asked."""

    tree: Path
    fault: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fetched(self, word: str) -> list[Asked]:
        """The requests whose path holds a word."""
        return [one for one in self.asked if word in one.path]


class Answer(BaseHTTPRequestHandler):
    """One connection of one device."""

    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_GET(self) -> None:
        spoken = self.headers.get("Range", "")
        self.start = int(spoken.removeprefix("bytes=").rstrip("-")) if spoken else 0
        self.name = self.path.lstrip("/")
        self.origin.asked.append(Asked(self.name, self.start))
        if self.origin.fault is None or not self.origin.fault(self):
            self.give(self.data())

    def data(self) -> bytes | None:
        place = self.origin.tree / self.name
        return place.read_bytes() if place.is_file() else None

    def give(self, data: bytes | None, *, stop_after: int | None = None) -> None:
        """Answer with a file from where it was asked for; break off after some bytes of it."""
        if data is None:
            self.head(404, {"Content-Length": "0"})
            return
        part = data[self.start :]
        headers = {"Content-Length": str(len(part)), "Content-Type": "application/octet-stream"}
        if self.start:
            headers["Content-Range"] = f"bytes {self.start}-{len(data) - 1}/{len(data)}"
        self.head(206 if self.start else 200, headers)
        self.send(part if stop_after is None else part[:stop_after])
        self.close_connection = stop_after is not None and stop_after < len(part)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.origin.sent_bytes += len(data)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@contextmanager
def serving(tree: Path, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Serve a tree until the block ends."""
    origin = Origin(tree=tree)
    handler = type("Bound", (Answer,), {"origin": origin})

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A device that hangs up is no news."""

    with Quiet(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        origin.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield origin
        finally:
            origin.ended.set()
            server.shutdown()
            thread.join(10)


def page(answer: Answer) -> bool:
    """A log-in page for everything."""
    body = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"
    answer.head(200, {"Content-Length": str(len(body)), "Content-Type": "text/html"})
    answer.send(body)
    return True


def elsewhere(answer: Answer) -> bool:
    """A redirect to a log-in page, for everything."""
    answer.head(302, {"Location": "http://portal.invalid/", "Content-Length": "0"})
    return True


def hanging_up(answer: Answer) -> bool:
    """A server that hangs up on every question."""
    answer.connection.shutdown(socket.SHUT_RDWR)
    answer.close_connection = True
    return True


def endless(word: str) -> Fault:
    """Data without end for files whose name holds a word."""

    def fault(answer: Answer) -> bool:
        if word not in answer.name:
            return False
        answer.head(200, {"Content-Type": "application/octet-stream", "Connection": "close"})
        answer.close_connection = True
        while not answer.origin.ended.is_set():
            answer.send(b"x" * 65_536)
        return True

    return fault


def dripping(word: str, *, in_header: bool = False) -> Fault:
    """A byte now and then for files whose name holds a word: never silent, never done."""

    def fault(answer: Answer) -> bool:
        if word not in answer.name:
            return False
        if in_header:
            answer.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            answer.head(200, {"Content-Length": "1000000"})
        answer.close_connection = True
        while not answer.origin.ended.is_set():
            answer.wfile.write(b"x")
            answer.wfile.flush()
            time.sleep(0.02)
        return True

    return fault


def cutting(word: str, after_bytes: int) -> Fault:
    """A link that breaks after so many bytes of files whose name holds a word."""

    def fault(answer: Answer) -> bool:
        if word not in answer.name:
            return False
        answer.give(answer.data(), stop_after=after_bytes)
        return True

    return fault


def changed(word: str) -> Fault:
    """One bit turned in files whose name holds a word."""

    def fault(answer: Answer) -> bool:
        data = answer.data()
        if word not in answer.name or data is None:
            return False
        middle = len(data) // 2
        answer.give(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        return True

    return fault
