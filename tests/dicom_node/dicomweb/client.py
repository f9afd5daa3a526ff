"""A STOW-RS port on loopback with its shelf, and a client that says exactly what a test wants."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from dicom_node.dicomweb.clients import Client, Clients
from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.part10 import Meta, head_of
from dicom_node.dicomweb.server import StowServer
from dicom_node.limits import Limits
from dicom_node.receive import Reception, Refused
from dicom_node.roster import Suspect
from dicom_node.tls import Credentials
from tests.dicom_node.samples import LIMITS, Sample, Shelf

TOKEN = "a token that nobody guesses"
CLIENT = Client(
    name="archive", ae_title="ARCHIVE", token_sha256=frozenset({sha256(TOKEN.encode()).hexdigest()})
)
BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
WEB = WebLimits(linger_seconds_max=0.5)


@dataclass
class Port:
    """A running port, and what came through it."""

    server: StowServer
    number: int
    shelf: Any
    refused: list[Refused] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)


@contextmanager
def port(
    *,
    shelf: Any = None,
    clients: Clients | None = None,
    wire: Limits = LIMITS,
    web: WebLimits = WEB,
    tls: Credentials | None = None,
) -> Iterator[Port]:
    shelf = shelf or Shelf()
    refused: list[Refused] = []
    suspects: list[Suspect] = []
    server = StowServer(
        host="127.0.0.1",
        port=0,
        called_ae="BOX",
        clients=clients or Clients(known=[CLIENT]),
        reception=Reception(intake=shelf, limits=wire, on_refused=refused.append),
        tls=tls,
        on_suspect=suspects.append,
        limits=web,
    )
    try:
        yield Port(server=server, number=server.start(), shelf=shelf, refused=refused, suspects=suspects)
    finally:
        server.stop()


def file_of(sample: Sample, *, instance: str | None = None, syntax: str | None = None) -> bytes:
    """A sample as a DICOM file; `instance` and `syntax` let its head lie."""
    meta = Meta(
        sop_class_uid=sample.sop_class_uid,
        sop_instance_uid=sample.sop_instance_uid if instance is None else instance,
        transfer_syntax_uid=syntax or sample.transfer_syntax_uid,
    )
    return head_of(meta) + sample.data


def body_of(files: Sequence[bytes], *, kind: str = "application/dicom", boundary: str = BOUNDARY) -> bytes:
    parts = [f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


@dataclass(frozen=True)
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = json.loads(self.body)
        return tree

    def instances(self, tag: str) -> list[str]:
        return [item["00081155"]["Value"][0] for item in self.tree.get(tag, {}).get("Value", [])]

    def reasons(self, tag: str) -> list[int]:
        return [item["00081197"]["Value"][0] for item in self.tree.get(tag, {}).get("Value", [])]


STORED, FAILED, OTHER = "00081199", "00081198", "0008119A"


def post(
    number: int,
    body: bytes | Iterable[bytes],
    *,
    path: str = "/studies",
    token: str | None = TOKEN,
    kind: str = RELATED,
    method: str = "POST",
    **fields: str,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=20)
    headers = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in fields.items()}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def raw(number: int, data: bytes, *, close: bool = True, seconds: float = 10.0) -> bytes:
    """Send bytes as they are; return all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", number), timeout=seconds) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer
