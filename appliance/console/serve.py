"""Serve the console over HTTP/1.1 in a thread, with bounds that the application itself cannot set.

Promises: no access log, which would hold one-time links and Study Instance UIDs;
a client that does not finish its request's head in time is cut off.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.console.limits import DEFAULT


class HastyProtocol(H11Protocol):
    """HTTP/1.1 that looks now and then if a request's head is still on its way, then hangs up."""

    _timer: asyncio.TimerHandle | None = None
    _slow = False

    def connection_made(self, transport: Any) -> None:
        """Begin to look."""
        super().connection_made(transport)
        self._again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _again(self) -> None:
        self._timer = self.loop.call_later(DEFAULT.head_seconds_max / 2, self._look)

    def _look(self) -> None:
        head_began = self.cycle is None or bool(self.conn.trailing_data[0])
        slow = self.conn.their_state is h11.IDLE and head_began
        if slow and self._slow:
            self.transport.close()
            return
        self._slow = slow
        self._again()


# How uvicorn must serve the application.
SERVE: dict[str, Any] = {
    "http": HastyProtocol,
    "ws": "none",
    "lifespan": "off",
    "access_log": False,
    "log_config": None,
    # The text of an error that nobody foresaw may hold patient data; the application logs its kind.
    "log_level": "critical",
    "server_header": False,
    "limit_concurrency": DEFAULT.connections_max,
    "timeout_keep_alive": 10,
    "timeout_graceful_shutdown": 5,
    "h11_max_incomplete_event_size": DEFAULT.head_bytes_max,
}


class Serving:
    """The application behind a listening socket, in a thread of its own; signals are left alone."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._address = (host, port)
        self._server = uvicorn.Server(uvicorn.Config(app, **SERVE))
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Open the socket and return its port; requests are answered from now on.

        Raises:
            OSError: the address cannot be listened on.
        """
        listening = _listen(*self._address)
        port: int = listening.getsockname()[1]
        run = functools.partial(self._server.run, sockets=[listening])
        self._thread = threading.Thread(target=run, name="console", daemon=True)
        self._thread.start()
        return port

    @property
    def alive(self) -> bool:
        """Say whether requests are still answered."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Answer what is under way, then close."""
        assert self._thread is not None, "what was not started cannot be stopped"
        self._server.should_exit = True
        self._thread.join()


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family)
