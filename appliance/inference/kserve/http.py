"""Ask a server over HTTP/1.1 with binary tensors (Open Inference Protocol, binary tensor data extension).

The bodies are tritonclient's. The connections are our own, because those of its HTTP client cannot be shared
by threads, and bound each read and not a whole call.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from appliance.inference.kserve.wire import Answer, Question, Trouble, WireFault
from appliance.inference.limits import InferenceLimits

_HEADER_LENGTH = "inference-header-content-length"
_READ_BYTES = 1 << 20
# Said by what stands before a server, or by one that is going down.
_GOING = frozenset({502, 503, 504})


class HttpWire:
    """One server over HTTP; any number of threads may ask at once, each over a connection of its own."""

    protocol = "HTTP"

    def __init__(self, host: str, port: int, limits: InferenceLimits) -> None:
        from tritonclient import http as triton  # type: ignore[import-untyped]

        self._triton = triton
        self._host, self._port, self._limits = host, port, limits
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False
        self._lock = threading.Lock()

    def live(self, *, seconds: float) -> bool:
        """Say whether the server is live."""
        return self._ask("GET", "v2/health/live", seconds=seconds)[0] == 200

    def server(self, *, seconds: float) -> Mapping[str, Any]:
        """Return the server's metadata."""
        return self._read("GET", "v2", seconds=seconds)

    def model_ready(self, name: str, *, seconds: float) -> bool:
        """Say whether any version of a model is ready."""
        return self._ask("GET", f"{_model(name)}/ready", seconds=seconds)[0] == 200

    def load_model(self, name: str, *, seconds: float) -> None:
        """Ask the server to load a model out of its repository."""
        self._read("POST", f"v2/repository/models/{quote(name, safe='')}/load", body=b"{}", seconds=seconds)

    def model(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's metadata."""
        return self._read("GET", _model(name, version), seconds=seconds)

    def config(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's configuration."""
        return self._read("GET", f"{_model(name, version)}/config", seconds=seconds)

    def infer(self, question: Question, *, seconds: float) -> Answer:
        """Run a network once."""
        body, length = _encoded(self._triton, question)
        path = f"{_model(question.model, question.version)}/infer"
        headers = {"Content-Type": "application/octet-stream"}
        if length is not None:
            headers[_HEADER_LENGTH] = str(length)
        status, said, data = self._ask("POST", path, body=body, headers=headers, seconds=seconds)
        if status != 200:
            raise _refusal(status)
        return _decoded(self._triton, data, said.get(_HEADER_LENGTH), question)

    def close(self) -> None:
        """Hang up; a connection that is in use goes when its call has ended."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for connection in idle:
            connection.close()

    def _read(self, method: str, path: str, *, seconds: float, body: bytes | None = None) -> dict[str, Any]:
        """Ask for a JSON object; an empty answer is an empty one."""
        status, _, data = self._ask(method, path, body=body, seconds=seconds)
        if status != 200:
            raise _refusal(status)
        try:
            read = json.loads(data or b"{}")
        except ValueError as error:
            raise WireFault(Trouble.NONSENSE) from error
        if not isinstance(read, dict):
            raise WireFault(Trouble.NONSENSE)
        return read

    def _ask(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and read its answer whole; a connection that failed is not used again."""
        until = time.monotonic() + seconds
        connection = self._connection(seconds)
        try:
            with _bounded(connection, until):
                connection.request(method, f"/{path}", body=body, headers=dict(headers or {}))
                response = connection.getresponse()
                data = self._whole(response)
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)
        return response.status, {name.lower(): value for name, value in response.headers.items()}, data

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        """Read a body, never more than the bound."""
        parts, room = [], self._limits.kserve_answer_bytes_max
        while part := response.read(min(_READ_BYTES, room + 1)):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise WireFault(Trouble.NONSENSE, "larger than an answer may be")
        if response.length:
            raise ConnectionError("the answer was cut short")
        return b"".join(parts)

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        """Return a connection that is open; nothing was sent when this fails."""
        while (connection := self._pop()) is not None:
            if not _hung_up(connection):
                return connection
            connection.close()
        allowed = min(seconds, self._limits.kserve_connect_seconds_max)
        if allowed <= 0:
            raise WireFault(Trouble.LATE)
        connection = http.client.HTTPConnection(self._host, self._port, timeout=allowed)
        try:
            connection.connect()
        except TimeoutError as error:
            raise WireFault(Trouble.LATE) from error
        except OSError as error:
            raise WireFault(Trouble.REFUSED) from error
        _notice_a_dead_host(connection.sock)
        return connection

    def _put_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _pop(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


@contextlib.contextmanager
def _bounded(connection: http.client.HTTPConnection, until: float) -> Iterator[None]:
    """Cut a connection at the deadline, however slowly bytes trickle, and name what went wrong."""
    late = threading.Event()
    # Kept here: the connection forgets its socket when the server asks to close.
    sock = connection.sock
    timer = threading.Timer(max(until - time.monotonic(), 0.0), _cut, (sock, late))
    timer.daemon = True
    sock.settimeout(None)
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        if late.is_set():
            raise WireFault(Trouble.LATE) from error
        raise WireFault(Trouble.GONE) from error
    finally:
        timer.cancel()


def _cut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _hung_up(connection: http.client.HTTPConnection) -> bool:
    """Say whether an idle connection was closed by the server, which shows as something to read."""
    if connection.sock is None:
        return True
    look = select.poll()
    look.register(connection.sock, select.POLLIN)
    return bool(look.poll(0))


def _notice_a_dead_host(sock: socket.socket) -> None:
    """Let the kernel ask after a host that vanished in the middle of a call: about half a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _model(name: str, version: str = "") -> str:
    path = f"v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _refusal(status: int) -> WireFault:
    trouble = Trouble.GONE if status in _GOING else Trouble.ANSWERED_NO
    return WireFault(trouble, f"HTTP {status}")


def _encoded(triton: Any, question: Question) -> tuple[bytes, int | None]:
    """Write a request: a JSON header, and the tensors behind it as they lie in memory."""
    from tritonclient.utils import np_to_triton_dtype  # type: ignore[import-untyped]

    inputs = []
    for name, array in question.inputs.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array, binary_data=True))
    outputs = [triton.InferRequestedOutput(name, binary_data=True) for name in question.outputs]
    body, length = triton.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, request_id=question.id
    )
    return body, length


def _decoded(triton: Any, data: bytes, length: str | None, question: Question) -> Answer:
    from tritonclient.utils import InferenceServerException

    try:
        result = triton.InferenceServerClient.parse_response_body(
            data, header_length=None if length is None else int(length)
        )
        said = result.get_response()
        arrays = {name: result.as_numpy(name) for name in question.outputs}
        answered = str(said.get("id", ""))
    except (ValueError, KeyError, TypeError, AttributeError, InferenceServerException) as error:
        raise WireFault(Trouble.NONSENSE) from error
    return Answer(id=answered, outputs={name: array for name, array in arrays.items() if array is not None})
