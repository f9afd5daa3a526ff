"""Whoever means harm: slow and wrong peers (W1 to W8), malformed data sets and PDUs, from other addresses.

What of the malformed is acknowledged all the same stands in the journal and must be found like anything else.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from appliance.demo.box import BOX_AE
from scripts.night.journal import Journal
from scripts.night.senders import CALLING_AE, digest_of
from tests.dicom_node import raw
from tests.dicom_node.raw import LAST_COMMAND, MORE_DATA, RawPeer
from tests.dicom_node.samples import sample
from tests.faults import mutate

# Each kind of attacker calls from an address of its own; the box counts connections by address.
_SILENT, _HALF_OPEN, _WILD, _MUTANT = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
_KIB = 1024


@dataclass
class Attacks:
    """Every attacker, and how often each did what it does."""

    port: int
    tls_port: int
    journal: Journal
    stopping: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    first_mutant: int = 0

    def start(self) -> list[threading.Thread]:
        """Begin all of them."""
        kinds: list[Callable[[], None]] = [
            self._silent_tls,
            self._half_open,
            self._giant,
            self._oversize,
            self._endless,
            self._traversal,
            self._mismatch,
            self._dripping,
            self._mutants,
            self._bad_pdus,
        ]
        threads = [
            threading.Thread(target=self._again_and_again, args=(kind,), name=kind.__name__, daemon=True)
            for kind in kinds
        ]
        for thread in threads:
            thread.start()
        return threads

    def _again_and_again(self, kind: Callable[[], None]) -> None:
        while not self.stopping.wait(0.2):
            # Whatever the box does about it is its right; what it must not do is told by the journals.
            with suppress(OSError, AssertionError, struct.error):
                kind()

    def _call(self, address: str, port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), 5, source_address=(address, 0))

    def _associated(self, address: str) -> RawPeer:
        peer = RawPeer(self._call(address))
        peer.send(raw.associate_rq(CALLING_AE, BOX_AE))
        kind, _ = peer.read()
        if kind != 2:
            peer.hang_up()
            raise OSError("not associated")
        return peer

    def _silent_tls(self) -> None:
        """W1: connect to the TLS port and say nothing."""
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(self._call(_SILENT, self.tls_port))
                self.done["W1 silent connections to the TLS port"] += 1
            self.stopping.wait(3)

    def _half_open(self) -> None:
        """W4: many connections with three bytes each."""
        with ExitStack() as stack:
            for _ in range(40):
                connection = stack.enter_context(self._call(_HALF_OPEN))
                connection.sendall(b"\1\0\0")
                self.done["W4 half-open connections"] += 1
            self.stopping.wait(3)

    def _giant(self) -> None:
        """W2 and W3: a PDU of 4 GB is announced, and some of it sent."""
        with self._call(_WILD) as connection:
            self.done["W2, W3 PDUs of 4 GB"] += 1
            connection.sendall(raw.pdu(1, b"xyz", length=4_000_000_000))
            for _ in range(64):
                connection.sendall(bytes(64 * _KIB))

    def _oversize(self) -> None:
        """W5: P-DATA longer than negotiated."""
        with self._associated(_WILD) as peer:
            self.done["W5 PDUs longer than negotiated"] += 1
            peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))))
            peer.send(raw.p_data(raw.value(1, MORE_DATA, bytes(_KIB * _KIB))))
            peer.rest()

    def _endless(self) -> None:
        """W6: fragments without a last one, then the cable is pulled."""
        with self._associated(_WILD) as peer:
            self.done["W6 data sets without end"] += 1
            peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))))
            for _ in range(200):
                peer.send(raw.p_data(raw.value(1, MORE_DATA, bytes(64 * _KIB))))
            peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stopping.wait(2)

    def _traversal(self) -> None:
        """W7: UIDs that are paths."""
        dice = random.Random()
        uid = dice.choice(("../../etc/x", "/etc/passwd", "1.2\0.3", "9" * 65, ""))
        known = replace(sample(), sop_instance_uid=uid)
        with self._associated(_WILD) as peer:
            self.done["W7 UIDs that are paths"] += 1
            peer.send(raw.stored(known))
            peer.read()

    def _mismatch(self) -> None:
        """W8: another instance than announced, or noise."""
        known = sample()
        noise = replace(known, data=random.Random().randbytes(2_000))
        with self._associated(_WILD) as peer:
            for wrong in (replace(known, sop_instance_uid="2.25.999"), noise):
                self.done["W8 data sets that are not what was announced"] += 1
                peer.send(raw.stored(wrong))
                peer.read()

    def _dripping(self) -> None:
        """F03: a request byte by byte."""
        with self._call(_WILD) as connection:
            self.done["F03 PDUs byte by byte"] += 1
            for byte in raw.associate_rq(CALLING_AE, BOX_AE):
                connection.sendall(bytes([byte]))
                if self.stopping.wait(0.3):
                    return

    def _mutants(self) -> None:
        """Broken data sets, one association for some of them."""
        for _ in range(20):
            seed, data, syntax = mutate.mutant(self.first_mutant)
            self.first_mutant += 1
            known = replace(seed.sample, data=data, transfer_syntax_uid=syntax)
            peer = RawPeer(self._call(_MUTANT))
            with peer:
                peer.send(raw.associate_rq(CALLING_AE, BOX_AE, [(known.sop_class_uid, syntax)]))
                if peer.read()[0] != 2:
                    continue
                self.done["malformed data sets"] += 1
                peer.send(raw.stored(known))
                kind, body = peer.read()
                status = raw.status_of(body) if kind == 4 else None
                self.journal.note(
                    uid=known.sop_instance_uid, digest=digest_of(data), status=status, ms=0, phase="malformed"
                )

    def _bad_pdus(self) -> None:
        """Broken PDUs and command sets."""
        dice = random.Random()
        whole = [raw.associate_rq(CALLING_AE, BOX_AE), raw.stored(sample(), piece=200), raw.RELEASE]
        for number in range(20):
            with self._call(_WILD) as connection:
                connection.settimeout(1.0)
                if number % 2:
                    self.done["malformed PDUs"] += 1
                    twisted = bytearray(b"".join(whole))
                    for _ in range(dice.randint(1, 4)):
                        twisted[dice.randrange(len(twisted))] = dice.randrange(256)
                    # Nothing of it may be taken for the sample with other bytes in silence: it is not stored.
                    connection.sendall(bytes(twisted[: dice.randrange(len(whole[0]), len(twisted) - 300)]))
                else:
                    self.done["malformed command sets"] += 1
                    connection.sendall(whole[0])
                    connection.sendall(
                        raw.p_data(raw.value(1, LAST_COMMAND, mutate.command(dice.getrandbits(40))))
                    )
                with suppress(OSError):
                    while connection.recv(4096):
                        time.sleep(0)
