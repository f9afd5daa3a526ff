"""HTTP/1.1 of many devices: llhttp reads it where it is installed, h11 where it is not; both within bounds.

Promises: a head that is too large, or does not come to its end in time, ends its connection.
Never: reads HTTP itself; uvicorn and its parsers do.
"""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.console.limits import DEFAULT
from appliance.console.serve import HastyProtocol

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # the extra `registry` is not installed
    PROTOCOL: type[asyncio.Protocol] = HastyProtocol
else:

    class _Fast(HttpToolsProtocol):
        """uvicorn's protocol over llhttp, which by itself waits for ever and takes any head."""

        _timer: asyncio.TimerHandle | None = None
        # A head is awaited from the first moment of a connection on.
        _head = True
        _slow = False
        _bytes = 0

        def connection_made(self, transport: Any) -> None:
            """Begin to look."""
            super().connection_made(transport)
            self._again()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop looking."""
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Read on, unless a head grows without end."""
            self._bytes = self._bytes + len(data) if self._head else 0
            super().data_received(data)
            if self._head and self._bytes > DEFAULT.head_bytes_max:
                self.transport.close()

        def on_message_begin(self) -> None:
            """Note that a head begins."""
            self._head = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Note that it came to its end."""
            self._head, self._bytes = False, 0
            super().on_headers_complete()

        def _again(self) -> None:
            self._timer = self.loop.call_later(DEFAULT.head_seconds_max / 2, self._look)

        def _look(self) -> None:
            if self._head and self._slow:
                self.transport.close()
                return
            self._slow = self._head
            self._again()

    PROTOCOL = _Fast
