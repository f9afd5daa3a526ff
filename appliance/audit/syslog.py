"""Hand messages to an audit repository: syslog (RFC 5424) over TLS (RFC 5425), as PS3.15 A.6 asks.

Syslog has no answer. What counts as handed over is what the other machine's TCP acknowledged: a repository
that dies behind that may lose it, and the trail here still has it.
Never: sends without TLS, and never to a machine whose certificate does not verify.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.limits import Limits
from appliance.core.clock import as_datetime

# PS3.15 A.6: facility 10 (security), severity 5 (notice): 10 x 8 + 5.
_PRIORITY = 85
_MESSAGE_ID = "DICOM+RFC3881"
_LOOK_SECONDS = 0.02


class NotHandedOver(Exception):
    """The repository could not be reached, or did not take what was sent; the message says how."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """An audit repository and the files that TLS with it needs; mutual where a certificate is given."""

    host: str
    port: int
    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    @property
    def name(self) -> str:
        """Return what the ledger knows it by."""
        return f"{self.host}:{self.port}"


def packet(body: str, *, at: float, host: str, application: str) -> bytes:
    """Write one message with its RFC 5424 header; the body is UTF-8 behind a byte order mark (6.4)."""
    moment = as_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{_PRIORITY}>1 {moment} {host or '-'} {application} {os.getpid()} {_MESSAGE_ID} - "
    return head.encode("ascii", "replace") + b"\xef\xbb\xbf" + body.encode()


def framed(message: bytes) -> bytes:
    """Put the octet count in front of a message (RFC 5425 4.3)."""
    return f"{len(message)} ".encode() + message


@contextmanager
def line_to(repository: Repository, limits: Limits) -> Iterator[Line]:
    """Open a TLS connection for as long as the block lasts.

    Raises:
        NotHandedOver: no connection, or a certificate that does not verify.
    """
    try:
        context = _context(repository)
        address = (repository.host, repository.port)
        with (
            socket.create_connection(address, limits.connect_seconds_max) as plain,
            context.wrap_socket(plain, server_hostname=repository.host) as secured,
        ):
            secured.settimeout(limits.send_seconds_max)
            yield Line(secured, limits)
    except ssl.SSLCertVerificationError as error:
        raise NotHandedOver(
            f"the certificate of the repository does not verify: {error.verify_message}"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise NotHandedOver(f"no connection to the repository: {reason}") from error


class Line:
    """An open connection to a repository."""

    def __init__(self, secured: ssl.SSLSocket, limits: Limits) -> None:
        self._socket, self._limits = secured, limits

    def send(self, messages: list[bytes]) -> None:
        """Send framed messages, and return when the other machine's TCP has them all.

        Raises:
            NotHandedOver: it does not take them within its time, or has closed.
        """
        try:
            self._socket.sendall(b"".join(map(framed, messages)))
            self._wait_for_acknowledgement()
        except OSError as error:
            raise NotHandedOver(f"the connection broke: {error.strerror or type(error).__name__}") from error

    def _wait_for_acknowledgement(self) -> None:
        deadline = time.monotonic() + self._limits.drain_seconds_max
        while _unacknowledged_bytes(self._socket):
            if time.monotonic() > deadline:
                raise NotHandedOver("the repository's machine does not acknowledge what was sent")
            time.sleep(_LOOK_SECONDS)
        if _has_ended(self._socket):
            raise NotHandedOver("the repository closed the connection")


def _context(repository: Repository) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(repository.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if repository.certificate is not None:
        context.load_cert_chain(repository.certificate, repository.key)
    return context


def _unacknowledged_bytes(connection: socket.socket) -> int:
    """Ask the kernel how many sent bytes the other side has not acknowledged (tcp(7) SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    (count,) = struct.unpack("i", answer)
    return int(count)


def _has_ended(connection: ssl.SSLSocket) -> bool:
    """Say whether the other side has closed; a repository never sends anything else."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    finally:
        connection.setblocking(True)
