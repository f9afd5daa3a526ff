"""The good peer and the attacker of scripts/bench-attacks: W1 to W8, from loopback addresses of their own.

Promises: every wait is bounded, and what an attacker holds open is closed when it is told that it is over.
Never: calls anything but a loopback address.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.dicom_node import raw
from tests.dicom_node.raw import LAST_COMMAND, MORE_DATA, RawPeer
from tests.dicom_node.samples import CT, EXPLICIT, Sample, element, encoded, header, sample

CALLING_AE: Final = "BENCH"
GOOD, BAD = "127.0.0.1", "127.0.0.2"
KIB: Final = 1024
MIB: Final = 1024 * KIB
EVERY_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 0.2
WAIT_SECONDS_MAX: Final = 300.0
STEP_SECONDS_MAX: Final = 2.0
ANSWER_SECONDS_MAX: Final = 4.0
FLOOD_BYTES: Final = 300 * MIB
GIANT_BYTES: Final = 4_000_000_000
IMAGE_BYTES: Final = 32 * KIB
HALF_OPEN: Final = 200
ESCAPE: Final = "../../escaped"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running receiver and the folder it may write in."""

    port: int
    called_ae: str
    process: subprocess.Popen[bytes]
    folder: Path
    tls: ssl.SSLContext | None = None


class Good:
    """Stores images, each with a UID of its own."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._number = time.time_ns()

    def store(self) -> float | None:
        """Return how many seconds passed until an image was said to be kept; None when it was not."""
        self._number += 1
        known = _image(f"2.25.{self._number}", IMAGE_BYTES)
        begun = time.monotonic()
        try:
            with self._associated() as peer:
                peer.send(raw.stored(known, piece=8 * KIB))
                if peer.status() != 0x0000:
                    return None
                seconds = time.monotonic() - begun
                peer.send(raw.RELEASE)
                peer.read()
        except (OSError, AssertionError, struct.error):
            return None
        return seconds

    def _associated(self) -> RawPeer:
        connection = _connection(self._receiver.port, GOOD, STEP_SECONDS_MAX)
        try:
            if self._receiver.tls is not None:
                connection = self._receiver.tls.wrap_socket(connection)
            return _associate(connection, self._receiver.called_ae)[0]
        except BaseException:
            connection.close()
            raise

    def serve(self, seconds: float) -> list[float | None]:
        """Store again and again for so long."""
        until, came = time.monotonic() + seconds, list[float | None]()
        while (begun := time.monotonic()) < until:
            came.append(self.store())
            time.sleep(max(0.0, begun + EVERY_SECONDS - time.monotonic()))
        return came


def _image(uid: str, pixel_bytes: int) -> Sample:
    """A CT slice with so many bytes of pixels."""
    data = encoded(header(SOPInstanceUID=uid, Rows=pixel_bytes // 256, Columns=128))
    return Sample(
        data=data + element(0x7FE10010, b"OW", os.urandom(pixel_bytes)),
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=CT,
        sop_instance_uid=uid,
    )


def _connection(port: int, address: str, seconds: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), seconds, source_address=(address, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _associate(connection: socket.socket, called_ae: str) -> tuple[RawPeer, int]:
    """Associate; return the peer and the longest PDU that the receiver takes, 0 for any."""
    peer = RawPeer(connection)
    peer.send(raw.associate_rq(CALLING_AE, called_ae))
    kind, body = peer.read()
    if kind != 2:
        raise ConnectionError("not associated")
    found = re.search(rb"\x51\x00\x00\x04(....)", body, re.DOTALL)
    return peer, int.from_bytes(found[1], "big") if found else 0


class Attacker:
    """One attack; what it holds open is open until it is told that it is over."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._begun = time.monotonic()
        self.over = threading.Event()
        self._stack = contextlib.ExitStack()
        self.told = ""
        self.cut_seconds: float | None = None

    def run(self, attack: str) -> None:
        """Do it and say what came of it."""
        with self._stack:
            try:
                ATTACKS[attack].do(self)
            except (OSError, AssertionError, struct.error) as error:
                self.told = f"not let in ({type(error).__name__})"

    def wait(self) -> None:
        """No attack at all: how it is otherwise."""
        self.told = "none"
        self.over.wait(WAIT_SECONDS_MAX)

    def silent_tls(self) -> None:
        """W1: connect to the port under TLS and say nothing."""
        self._watch(self._call())

    def giant(self) -> None:
        """W2: announce 4 GB, send three bytes."""
        connection = self._call()
        connection.sendall(raw.pdu(1, b"xyz", length=GIANT_BYTES))
        self._watch(connection)

    def filled_giant(self) -> None:
        """W3: announce 4 GB and send 300 MiB of it."""
        connection = self._call()
        connection.sendall(raw.pdu(1, b"", length=GIANT_BYTES))
        self._pour(connection, bytes(64 * KIB))

    def half_open(self) -> None:
        """W4: 200 connections of three bytes each."""
        self._half_open(BAD)

    def half_open_beside(self) -> None:
        """W4 from the good peer's own address."""
        self._half_open(GOOD)

    def _half_open(self, address: str) -> None:
        poll, tried, opened, cut = select.poll(), 0, 0, list[float]()
        while tried < HALF_OPEN and not self.over.is_set():
            tried += 1
            with contextlib.suppress(OSError):
                connection = self._call(address, seconds=LOOK_SECONDS)
                poll.register(connection, select.POLLIN)
                opened += 1
                connection.sendall(b"\1\0\0")
        while len(cut) < opened and not self.over.is_set():
            for descriptor, _ in poll.poll(1000 * LOOK_SECONDS):
                poll.unregister(descriptor)
                cut.append(time.monotonic() - self._begun)
        if len(cut) == opened:
            self.cut_seconds = max(cut, default=0.0)
        when = f", the last after {max(cut):.1f} s" if cut else ""
        self.told = f"{len(cut)} of {opened} cut{when}"
        if tried > opened:
            self.told += f"; {tried - opened} not taken"

    def oversize(self) -> None:
        """W5: P-DATA of 1 MiB, whatever was negotiated."""
        peer, longest = _associate(self._call(), self._receiver.called_ae)
        known = _image("2.25.40", 4 * MIB)
        answer = self._ask(peer, raw.stored(known, piece=MIB))
        self.told = f"{answer}; {longest or 'no'} bytes were its most"

    def endless(self) -> None:
        """W6: fragments of a data set, 300 MiB of them and never the last."""
        peer, longest = _associate(self._call(), self._receiver.called_ae)
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))))
        piece = min(longest or 64 * KIB, 64 * KIB) - 6
        self._pour(peer.connection, raw.p_data(raw.value(1, MORE_DATA, bytes(piece))))

    def traversal(self) -> None:
        """W7: a SOP Instance UID that is a path."""
        status = self._answer(sample(), ESCAPE)
        base = self._receiver.folder.parents[1]
        escaped = any(self._receiver.folder not in path.parents for path in base.rglob("*escaped*"))
        self.told = f"{status}, {'a file outside' if escaped else 'no file outside'} its folder"

    def mismatch(self) -> None:
        """W8: another instance than the command says, and noise."""
        known = sample(SOPInstanceUID="2.25.41")
        other = self._answer(known, "2.25.42")
        noise = self._answer(replace(known, data=os.urandom(2000)), "2.25.43")
        self.told = f"another instance: {other}; noise: {noise}"

    def _answer(self, known: Sample, uid: str) -> str:
        """Store under a UID of the command's own; return what was answered."""
        peer, _ = _associate(self._call(), self._receiver.called_ae)
        return self._ask(peer, raw.stored(replace(known, sop_instance_uid=uid)))

    def _ask(self, peer: RawPeer, request: bytes) -> str:
        """Send a request whole; return what became of it."""
        peer.connection.settimeout(ANSWER_SECONDS_MAX)
        try:
            peer.send(request)
            return f"answered {peer.status():04X}"
        except TimeoutError:
            return f"no answer in {ANSWER_SECONDS_MAX:.0f} s"
        except (OSError, AssertionError):
            return self._cut()

    def _call(self, address: str = BAD, seconds: float = STEP_SECONDS_MAX) -> socket.socket:
        return self._stack.enter_context(_connection(self._receiver.port, address, seconds))

    def _pour(self, connection: socket.socket, piece: bytes) -> None:
        """Send the same again and again, up to the bound, and see whether somebody minds."""
        connection.settimeout(LOOK_SECONDS)
        sent, data = 0, memoryview(piece)
        while sent < FLOOD_BYTES and not self.over.is_set():
            try:
                sent += connection.send(data[sent % len(piece) :])
            except TimeoutError:
                continue
            except OSError:
                self.told = self._cut()
                break
        else:
            self._watch(connection)
        self.told += f", {sent // MIB} MiB taken"

    def _watch(self, connection: socket.socket) -> None:
        """Wait for the other side to end it."""
        connection.settimeout(LOOK_SECONDS)
        while not self.over.is_set():
            try:
                if connection.recv(4096):
                    continue
            except TimeoutError:
                continue
            except OSError:
                pass
            self.told = self._cut()
            return
        self.told = f"not cut in {time.monotonic() - self._begun:.0f} s"

    def _cut(self) -> str:
        self.cut_seconds = time.monotonic() - self._begun
        return f"cut after {self.cut_seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What is done, for how long the good peer is watched, and whether it is done under TLS."""

    do: Callable[[Attacker], None]
    seconds: float = 3.0
    tls: bool = False


ATTACKS: Final = {
    "quiet": Attack(do=Attacker.wait, seconds=2.0),
    "W1": Attack(do=Attacker.silent_tls, seconds=6.0, tls=True),
    "W2": Attack(do=Attacker.giant),
    "W3": Attack(do=Attacker.filled_giant),
    "W4": Attack(do=Attacker.half_open),
    "W4-beside": Attack(do=Attacker.half_open_beside),
    "W5": Attack(do=Attacker.oversize, seconds=2.0),
    "W6": Attack(do=Attacker.endless),
    "W7": Attack(do=Attacker.traversal, seconds=2.0),
    "W8": Attack(do=Attacker.mismatch, seconds=2.0),
}
