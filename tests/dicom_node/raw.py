"""A peer made of bytes: it sends whatever a test wants on the wire, sound or not (PS3.8 9.3, PS3.7 9.3.1)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.dicom_node.samples import CT, EXPLICIT, Sample

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
LAST_COMMAND, LAST_DATA, MORE_COMMAND, MORE_DATA = 3, 2, 1, 0
RELEASE = bytes.fromhex("05000000000400000000")
ABORT = bytes.fromhex("07000000000400000000")


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    return struct.pack(">BxL", kind, len(body) if length is None else length) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def associate_rq(
    calling_ae: str = "CTSCAN",
    called_ae: str = "BOX",
    contexts: Sequence[tuple[str, str]] = ((CT, EXPLICIT),),
) -> bytes:
    """An A-ASSOCIATE-RQ; context identifiers are 1, 3, 5 in the order of `contexts`."""
    body = struct.pack(">Hxx16s16s32x", 1, called_ae.ljust(16).encode(), calling_ae.ljust(16).encode())
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, transfer) in enumerate(contexts):
        inner = item(0x30, abstract.encode()) + item(0x40, transfer.encode())
        body += item(0x20, bytes([2 * number + 1, 0, 0, 0]) + inner)
    body += item(0x50, item(0x51, struct.pack(">L", 1 << 16)) + item(0x52, b"2.25.1"))
    return pdu(1, body)


def value(context_id: int, control: int, data: bytes) -> bytes:
    """One presentation data value item (PS3.8 9.3.5.1)."""
    return struct.pack(">LBB", len(data) + 2, context_id, control) + data


def p_data(*values: bytes) -> bytes:
    return pdu(4, b"".join(values))


def element(number: int, data: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(data)) + data


def text(number: int, value: str) -> bytes:
    data = value.encode()
    return element(number, data + b"\0" * (len(data) % 2))


def word(number: int, value: int) -> bytes:
    return element(number, struct.pack("<H", value))


def command(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return element(0, struct.pack("<L", len(body))) + body


def store_rq(known: Sample, message_id: int = 1, **changes: str) -> bytes:
    return command(
        text(0x0002, changes.get("sop_class_uid", known.sop_class_uid)),
        word(0x0100, 0x0001),
        word(0x0110, message_id),
        word(0x0700, 0),
        word(0x0800, 0x0000),
        text(0x1000, changes.get("sop_instance_uid", known.sop_instance_uid)),
    )


def echo_rq(message_id: int = 1) -> bytes:
    return command(
        text(0x0002, VERIFICATION), word(0x0100, 0x0030), word(0x0110, message_id), word(0x0800, 0x0101)
    )


def cancel_rq(message_id: int = 1) -> bytes:
    return command(word(0x0100, 0x0FFF), word(0x0120, message_id), word(0x0800, 0x0101))


def stored(known: Sample, *, context_id: int = 1, message_id: int = 1, piece: int = 4096) -> bytes:
    """A whole C-STORE request in PDUs of one value each."""
    return b"".join(messages(known, context_id=context_id, message_id=message_id, piece=piece))


def messages(
    known: Sample, *, context_id: int = 1, message_id: int = 1, piece: int = 4096
) -> Iterable[bytes]:
    """The PDUs of a whole C-STORE request."""
    yield p_data(value(context_id, LAST_COMMAND, store_rq(known, message_id)))
    for at in range(0, len(known.data), piece):
        last = at + piece >= len(known.data)
        yield p_data(value(context_id, LAST_DATA if last else MORE_DATA, known.data[at : at + piece]))


@dataclass
class RawPeer:
    """A connection to a listener; every wait is bounded by the socket's timeout."""

    connection: socket.socket

    @classmethod
    def call(cls, port: int, *, seconds: float = 5.0) -> RawPeer:
        return cls(socket.create_connection(("127.0.0.1", port), timeout=seconds))

    @classmethod
    def associated(cls, port: int, **changes: object) -> RawPeer:
        peer = cls.call(port)
        peer.send(associate_rq(**changes))  # type: ignore[arg-type]
        kind, _ = peer.read()
        assert kind == 2, "the association is accepted"
        return peer

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def read(self) -> tuple[int, bytes]:
        """The next PDU as its type and body; type 0 is the end of the connection."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.connection.recv(count - len(data))
            except ConnectionError:
                return data
            if not more:
                return data
            data += more
        return data

    def status(self) -> int:
        """The status of the next response."""
        kind, body = self.read()
        assert kind == 4, f"a response, not a PDU of type {kind}"
        return status_of(body)

    def rest(self) -> list[tuple[int, bytes]]:
        """Every PDU to the end of the connection."""
        came = []
        while (one := self.read())[0]:
            came.append(one)
        return came

    def hang_up(self) -> None:
        self.connection.close()

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()


def status_of(body: bytes) -> int:
    """The status in the body of a P-DATA PDU that holds a response."""
    at = 6
    while at < len(body):
        _, number, length = struct.unpack_from("<HHL", body, at)
        if number == 0x0900:
            return int.from_bytes(body[at + 8 : at + 10], "little")
        at += 8 + length
    raise AssertionError("a response has a status")
