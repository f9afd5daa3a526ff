"""The road to a host: name, port, proxy, TLS; each step fails with its own word.

Only the standard library: what is asked here is asked before anything may be trusted, and no file is taken.
Promises: every wait is bounded; a proxy is the one that the box itself would take, from the environment.
Never: sends a name or a token of the box; decides what a word means for a person.
"""

from __future__ import annotations

import errno
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from cryptography import x509

_PORTS: Final = {"http": 80, "https": 443}
_SWITCHED: Final = 200
_LOG_IN: Final = 407
_NO_ROUTE: Final = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
_HEAD_BYTES_MAX: Final = 16 * 1024

Address: TypeAlias = tuple[str, int]


class Unreached(Exception):
    """A step of the road failed.

    `word` is "unknown_host", "refused", "silent" or "no_route" for a host; of a proxy the same behind
    "proxy_", and "proxy_login" or "proxy_blocks" for what it answers.
    """

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both; the sentence names host, port and reason."""
        super().__init__(sentence)
        self.word, self.sentence = word, sentence


@dataclass(frozen=True, kw_only=True)
class Road:
    """How an address on the web is reached from this machine.

    Attributes:
        proxy: host and port of what is asked in between; None: nothing.
        login: what the proxy is told of us, "user:password"; "" when nothing is configured.
    """

    scheme: str
    host: str
    port: int
    path: str
    proxy: Address | None = None
    login: str = ""

    @property
    def named(self) -> str:
        """Return host and port, and the proxy where there is one."""
        through = "" if self.proxy is None else f" through the proxy {self.proxy[0]}:{self.proxy[1]}"
        return f"{self.host}:{self.port}{through}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The beginning of an answer over HTTP."""

    status: int
    location: str
    date: str
    body: bytes


def road_to(url: str) -> Road:
    """Return the road to an address, through the proxy that the environment names for it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    proxies = getproxies()
    named = "" if proxy_bypass(f"{host}:{port}") else proxies.get(parts.scheme) or proxies.get("all", "")
    proxy = urlsplit(named if "://" in named else f"http://{named}") if named else None
    login = ""
    if proxy is not None and proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return Road(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=parts.path.rstrip("/"),
        proxy=None if proxy is None or not proxy.hostname else (proxy.hostname, proxy.port or 80),
        login=login,
    )


def connect(host: str, port: int, *, seconds_max: float) -> socket.socket:
    """Open a connection; its own waits are as long.

    Raises:
        Unreached: with the reason of the last address that the name has.
    """
    where = f"{host}:{port}"
    try:
        return socket.create_connection((host, port), timeout=seconds_max)
    except socket.gaierror as error:
        raise Unreached("unknown_host", f"the name {host} has no address ({error.strerror})") from error
    except TimeoutError as error:
        raise Unreached("silent", f"{where} did not answer within {seconds_max:g} s") from error
    except ConnectionRefusedError as error:
        raise Unreached("refused", f"{where} refuses the connection: nothing listens there") from error
    except OSError as error:
        word = "no_route" if error.errno in _NO_ROUTE else "silent"
        raise Unreached(word, f"{where} cannot be reached ({error.strerror})") from error


def reach(road: Road, *, seconds_max: float) -> socket.socket:
    """Open a connection to the host at the end of a road; for plain HTTP it may end at the proxy.

    Raises:
        Unreached: with the step that failed.
    """
    if road.proxy is None:
        return connect(road.host, road.port, seconds_max=seconds_max)
    try:
        line = connect(*road.proxy, seconds_max=seconds_max)
    except Unreached as error:
        raise Unreached(f"proxy_{error.word}", f"the proxy: {error.sentence}") from error
    if road.scheme == "https":
        try:
            _through(line, road)
        except BaseException:
            line.close()
            raise
    return line


def _through(line: socket.socket, road: Road) -> None:
    """Ask a proxy to switch the line through (RFC 9110 section 9.3.6)."""
    target = f"{road.host}:{road.port}"
    asked = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_credentials(road)}\r\n"
    try:
        line.sendall(asked.encode("ascii"))
        status = _status_of(line)
    except OSError as error:
        raise Unreached("proxy_silent", f"the proxy does not answer for {target}") from error
    if status == _SWITCHED:
        return
    if status == _LOG_IN:
        raise Unreached("proxy_login", f"the proxy wants a log-in (407) before it connects to {target}")
    said = f"answers {status}" if status else "answers with something that is no HTTP"
    raise Unreached("proxy_blocks", f"the proxy {said} when it is asked for {target}")


def _status_of(line: socket.socket) -> int:
    """Read the head of an answer byte by byte: what comes behind it belongs to TLS."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n") and len(head) < _HEAD_BYTES_MAX:
        byte = line.recv(1)
        if not byte:
            break
        head += byte
    words = bytes(head).split(None, 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def _credentials(road: Road) -> str:
    if not road.login:
        return ""
    return f"Proxy-Authorization: Basic {b64encode(road.login.encode()).decode()}\r\n"


def ask(line: socket.socket, road: Road, path: str, *, bytes_max: int, verb: str = "GET") -> Answer:
    """Ask for a file below the road's address and read the beginning of what comes.

    Raises:
        OSError: the line broke, or was silent.
        ValueError: what came is no HTTP.
    """
    at_proxy = road.proxy is not None and road.scheme == "http"
    target = f"{road.path}/{path}"
    if at_proxy:
        target = f"http://{road.host}:{road.port}{target}"
    head = f"{verb} {target} HTTP/1.1\r\nHost: {road.host}:{road.port}\r\n"
    more = _credentials(road) if at_proxy else ""
    line.sendall(f"{head}{more}User-Agent: readside-doctor\r\nConnection: close\r\n\r\n".encode("ascii"))
    response = HTTPResponse(line, method=verb)
    try:
        response.begin()
        body = response.read(bytes_max)
    except HTTPException as error:
        raise ValueError(type(error).__name__) from error
    finally:
        response.close()
    return Answer(
        status=response.status,
        location=response.headers.get("Location", ""),
        date=response.headers.get("Date", ""),
        body=body,
    )


def unproven() -> ssl.SSLContext:
    """Return a context that takes any certificate: to look at it, or at a clock; never to take a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_shown(line: socket.socket, host: str) -> x509.Certificate | None:
    """Shake hands without proof and return whose certificate the other side shows."""
    try:
        with unproven().wrap_socket(line, server_hostname=host) as secured:
            shown = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    return None if shown is None else x509.load_der_x509_certificate(shown)


def name_in(name: x509.Name) -> str:
    """Return the name of a certificate's subject or issuer for a person: its common name, or all of it."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
