"""The deadline of a transfer, which also ends an answer whose header drips.

A library's own time-outs count between two bytes; whoever sends one now and then is never late by them.

Promises: what is under way when the time is over is ended, whichever thread waits for it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any


class Wire:
    """The one connection of a client; it serves several transfers, so it outlives each."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def follow(self, event: str, info: dict[str, Any]) -> None:
        """Learn of a new connection from the library's trace."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def end(self) -> None:
        """End what is under way: whoever waits for a byte on the line is told that there are no more."""
        if self._socket is not None:
            with suppress(OSError):
                # Not the method of a TLS socket, which another thread reads from: the plain one under it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watch:
    """Ends a transfer at its deadline; `ended` says that it did."""

    def __init__(self, wire: Wire, seconds: float) -> None:
        self.ended = False
        self._wire = wire
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.ended = True
        self._wire.end()

    def __enter__(self) -> Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
