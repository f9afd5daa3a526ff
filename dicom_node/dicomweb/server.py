"""The port for STOW-RS: accept, shake hands, and give each connection a thread and a bounded time.

Promises: the accept thread does nothing but accept; a bounded number of connections in all and from each
address; new requests hear 503 while the box drains, running ones may end.
Never: writes a file, or decides what an instance is for.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from dicom_node.dicomweb.clients import Clients
from dicom_node.dicomweb.exchange import Declined, Exchange, Service
from dicom_node.dicomweb.limits import DEFAULT, WebLimits
from dicom_node.dicomweb.line import Gone, HttpLine
from dicom_node.gate import shake_hands
from dicom_node.proof import proof_of
from dicom_node.receive import Reception
from dicom_node.roster import OnSuspect, Suspect
from dicom_node.sockets import adopt, prepare
from dicom_node.tls import Credentials, reason_of
from dicom_node.turnstile import Turnstile

log = structlog.get_logger(__name__)

_BACKLOG = 64
_LOOK_SECONDS = 0.05


def _ignore(_suspect: Suspect) -> None:
    """Do nothing: the default for `on_suspect`."""


class _Room:
    """Counts Store requests under way; none is taken while the box drains."""

    def __init__(self, requests_max: int, limits: WebLimits) -> None:
        self._left, self._limits = requests_max, limits
        self._requests_max = requests_max
        self._lock = threading.Lock()
        self.draining = threading.Event()

    def take(self) -> Declined | None:
        """Take a seat, or say why there is none."""
        later = ("Retry-After", str(self._limits.retry_after_seconds))
        with self._lock:
            if self.draining.is_set():
                return Declined(503, "node.draining", "The box is shutting down, try later.", later)
            if not self._left:
                return Declined(503, "node.full", "Too many requests at once, try later.", later)
            self._left -= 1
        return None

    def leave(self) -> None:
        """Give the seat back."""
        with self._lock:
            self._left += 1

    @property
    def is_empty(self) -> bool:
        """Tell whether no request is under way."""
        with self._lock:
            return self._left == self._requests_max


class StowServer:
    """One bound port that keeps what known clients store on it."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        called_ae: str,
        clients: Clients,
        reception: Reception,
        tls: Credentials | None = None,
        on_suspect: OnSuspect = _ignore,
        limits: WebLimits = DEFAULT,
    ) -> None:
        """Hold what is needed; nothing is bound before `start`. `port` 0 takes a free one."""
        self._address, self._tls, self._on_suspect = (host, port), tls, on_suspect
        self._wire, self._limits = reception.limits, limits
        self._turnstile = Turnstile(reception.limits)
        self._room = _Room(reception.limits.associations_max, limits)
        self._service = Service(
            reception=reception,
            clients=clients,
            called_ae=called_ae,
            limits=limits,
            seats=self._room,
            on_stranger=self._stranger,
            warn=self._turnstile.warn,
        )
        self._lines: set[HttpLine] = set()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Bind, listen and serve on a thread of our own; return the bound port.

        Raises:
            OSError: the address cannot be bound.
            TlsFault: the files of TLS cannot be used.
        """
        assert self._socket is None, "a server is started once"
        if self._tls is not None:
            self._tls.look()
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.create_server(self._address, family=family, backlog=_BACKLOG)
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), name="stow", daemon=True)
        self._thread.start()
        port: int = self._socket.getsockname()[1]
        log.info("dicomweb.listening", port=port, clients=len(self._service.clients.known))
        return port

    def look(self) -> None:
        """Use new files of TLS, where there are some."""
        if self._tls is not None:
            self._tls.look()

    def drain(self, seconds: float) -> None:
        """Answer new requests with 503 and let running ones end, within `seconds`."""
        self._room.draining.set()
        deadline = time.monotonic() + seconds
        while not self._room.is_empty and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Cut what still runs and close the port; calling it again does nothing."""
        self._room.draining.set()
        if self._socket is None or self._thread is None:
            return
        # Closing alone does not wake a thread that waits in accept.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        self._socket = self._thread = None
        deadline = time.monotonic() + self._wire.abort_seconds_max
        while lines := self._open_lines():
            for line in lines:
                line.wake()
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)

    def _accept(self, listening: socket.socket) -> None:
        """Accept until the port is closed; on the accept thread, so nothing here waits."""
        while True:
            try:
                accepted, address = listening.accept()
            except ConnectionError:
                continue
            except OSError:
                if self._room.draining.is_set():
                    return
                # Out of file descriptors, say: some will come back.
                time.sleep(_LOOK_SECONDS)
                continue
            connection, host = adopt(accepted), str(address[0])
            if not self._turnstile.enter(connection, host):
                connection.close()
                continue
            self._spawn(connection, host)

    def _spawn(self, connection: socket.socket, host: str) -> None:
        thread = threading.Thread(target=self._serve, args=(connection, host), name="stow", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had: this one is turned away, and the next is another matter.
            self._turnstile.leave(connection)
            connection.close()

    def _serve(self, connection: socket.socket, host: str) -> None:
        """Serve one connection to its end."""
        try:
            prepare(connection, seconds_max=self._wire.network_seconds_max)
            secured = self._secured(connection, host)
            if secured is not None:
                self._with(secured, host, on_known=partial(self._turnstile.asked, connection))
        except Gone as gone:
            self._turnstile.warn("dicomweb.gone", host, reason=gone.word)
        except OSError:
            self._turnstile.warn("dicomweb.gone", host, reason="cut")
        # The loop of a connection: an error nobody foresaw must not take the thread's seat with it.
        except Exception as fault:  # noqa: BLE001
            log.error("dicomweb.our_fault", error=type(fault).__name__, where=_where(fault))
        finally:
            connection.close()
            self._turnstile.leave(connection)

    def _with(self, secured: socket.socket, host: str, *, on_known: Callable[[], None]) -> None:
        line = HttpLine(
            secured,
            server=True,
            head_bytes_max=self._limits.head_bytes_max,
            silence_seconds_max=self._wire.network_seconds_max,
        )
        with self._lock:
            self._lines.add(line)
        try:
            Exchange(self._service, line, address=host, proof=proof_of(secured), on_known=on_known).serve()
        finally:
            with self._lock:
                self._lines.discard(line)
            line.close()

    def _secured(self, connection: socket.socket, host: str) -> socket.socket | None:
        """Return the connection to speak HTTP on, or nothing where the handshake failed."""
        if self._tls is None:
            return connection
        try:
            return shake_hands(
                connection,
                self._tls.server(),
                seconds_max=self._wire.tls_handshake_seconds_max,
                on_wrapped=partial(self._turnstile.moved, connection),
            )
        except TimeoutError:
            self._turnstile.warn("gate.handshake_timeout", host)
        except OSError as error:
            if self._turnstile.gave_way(connection):
                return None
            reason = reason_of(error)
            if self._turnstile.warned("tls.refused", host, reason=reason):
                self._on_suspect(Suspect(word="tls.refused", reason=reason, address=host))
        return None

    def _stranger(self, host: str, reason: str) -> None:
        """Tell of somebody who showed no token, or a wrong one."""
        if self._turnstile.warned("dicomweb.stranger", host, reason=reason):
            self._on_suspect(Suspect(word="dicomweb.stranger", reason=reason, address=host))

    def _open_lines(self) -> list[HttpLine]:
        with self._lock:
            return list(self._lines)


def _where(fault: BaseException) -> str:
    """Return where a fault arose; never its message, which may hold data."""
    at = fault.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}" if at else ""
