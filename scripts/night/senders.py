"""Modalities: they send studies over bare sockets, write down each answer, and come back until all is taken.

None of the box's own code for sending is used here: a sender believes the status that it read, and no more.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.demo.box import BOX_AE
from appliance.demo.study import MadeStudy
from scripts.night.journal import Journal
from tests.dicom_node import raw
from tests.dicom_node.samples import CT, EXPLICIT, Sample

CALLING_AE = "MODALITY"
WANTED, UNWANTED = "STD HEAD PHANTOM", "SCOUT LOCALISER "
_FIRST = 100_000_000_000
_PIECE_BYTES = 60_000
_AGAIN_SECONDS = 0.2
_ANSWER_SECONDS_MAX = 75.0
_CONNECT_SECONDS_MAX = 10.0


class Cut(Exception):
    """The association ended before its time, or never came to be."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image to send, and the digest of its bytes."""

    sample: Sample
    digest: str

    @property
    def uid(self) -> str:
        return self.sample.sop_instance_uid


class Template:
    """One made-up study, of which any number of others is made by replacing its number."""

    def __init__(self, slices: int, columns: int, *, wanted: bool) -> None:
        hu = np.random.default_rng(slices).integers(-1000, 1200, (slices, columns, columns), dtype=np.int16)
        made = MadeStudy(hu=hu, spacing_mm=(3.0, 0.9, 0.8), number=_FIRST)
        self.wanted = wanted
        self._items = list(made.instances())
        self._study_uid = made.study_uid

    def study(self, number: int) -> tuple[str, list[Item]]:
        """Return a study of its own: its UID and its images."""
        old, new = str(_FIRST), str(_FIRST + number)
        items = []
        for one in self._items:
            data = one.data.replace(old.encode(), new.encode())
            if not self.wanted:
                data = data.replace(WANTED.encode(), UNWANTED.encode())
            uid = one.sop_instance_uid.replace(old, new)
            sample = Sample(data=data, transfer_syntax_uid=EXPLICIT, sop_class_uid=CT, sop_instance_uid=uid)
            items.append(Item(sample=sample, digest=digest_of(data)))
        return self._study_uid.replace(old, new), items


def digest_of(data: bytes) -> str:
    """Return the digest of bytes, written as the box writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Line:
    """One association with the box, spoken byte by byte."""

    def __init__(self, port: int, *, address: str = "127.0.0.1") -> None:
        self._peer: raw.RawPeer | None = None
        try:
            connection = socket.create_connection(
                ("127.0.0.1", port), timeout=_CONNECT_SECONDS_MAX, source_address=(address, 0)
            )
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_ANSWER_SECONDS_MAX)
            self._peer = raw.RawPeer(connection)
            self._peer.send(raw.associate_rq(CALLING_AE, BOX_AE, [(CT, EXPLICIT)]))
            kind, _ = self._peer.read()
        except OSError as error:
            self.close()
            raise Cut from error
        if kind != 2:
            self.close()
            raise Cut

    def store(self, item: Item) -> int:
        """Send one image; return the status. Raises `Cut` where none comes."""
        assert self._peer is not None
        try:
            self._peer.send(raw.stored(item.sample, piece=_PIECE_BYTES))
            kind, body = self._peer.read()
        except OSError as error:
            raise Cut from error
        if kind != 4:
            raise Cut
        return raw.status_of(body)

    def release(self) -> None:
        """End the association in order, as far as the other side lets us."""
        assert self._peer is not None
        try:
            self._peer.send(raw.RELEASE)
            self._peer.rest()
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._peer is not None:
            self._peer.hang_up()


@dataclass
class Traffic:
    """What all senders share: the port, the journal, the phase of the night, and how much is on its way."""

    port: int
    journal: Journal
    templates: Sequence[Template]
    # How many studies wait for their result: a sender holds back those that would add to too many.
    waiting: Callable[[], int] = lambda: 0
    waiting_max: int = 8
    pause_seconds: float = 0.0
    # Which part of the studies is sent in each odd way, and how late a late image is.
    odd: float = 0.0
    late_seconds: float = 5.0
    phase: str = "calm"
    stopping: threading.Event = field(default_factory=threading.Event)
    given_up: threading.Event = field(default_factory=threading.Event)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    wanted_sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_study(self, dice: random.Random) -> tuple[str, list[Item], bool]:
        """Choose a template and number a study."""
        with self._lock:
            number = next(self.numbers)
            template = dice.choice(self.templates)
            if template.wanted and self.waiting() >= self.waiting_max:
                template = next((one for one in self.templates if not one.wanted), template)
            self.wanted_sent += template.wanted
        study_uid, items = template.study(number)
        return study_uid, items, template.wanted


class Sender(threading.Thread):
    """One modality: study after study, until told to stop; what it began it brings to its end."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self._traffic, self._dice, self.number = traffic, random.Random(number), number

    def run(self) -> None:
        """Send."""
        traffic = self._traffic
        while not traffic.stopping.wait(self._dice.uniform(0, 2 * traffic.pause_seconds)):
            study_uid, items, wanted = traffic.next_study(self._dice)
            traffic.journal.note(
                study=study_uid, instances=len(items), wanted=wanted, at=round(time.time(), 3)
            )
            if self._send_in_a_way(items, wanted=wanted):
                traffic.journal.note(study=study_uid, complete=True, at=round(time.time(), 3))
                # Some senders are not content with an answer, and send it all once more (F18).
                if self._dice.random() < traffic.odd:
                    self._send_all(items)

    def _send_in_a_way(self, items: Sequence[Item], *, wanted: bool) -> bool:
        """Send as most do, over two associations at once (F19), or the last image late (F36)."""
        ways = self._dice.random()
        if ways < self._traffic.odd:
            other = threading.Thread(target=self._send_all, args=(items[1::2],))
            other.start()
            first = self._send_all(items[::2])
            other.join()
            # The other half is sent again: what of it was taken is a duplicate.
            return first and self._send_all(items[1::2])
        if ways < 2 * self._traffic.odd and wanted:
            self._send_all(items[:-1])
            self._traffic.stopping.wait(self._traffic.late_seconds)
        return self._send_all(items)

    def _send_all(self, items: Sequence[Item]) -> bool:
        """Send until every image was acknowledged, over as many associations as it takes."""
        pending = list(items)
        while pending and not self._traffic.given_up.is_set():
            try:
                pending = self._send_over(Line(self._traffic.port), pending)
            except Cut:
                self._traffic.given_up.wait(_AGAIN_SECONDS)
        return not pending

    def _send_over(self, line: Line, pending: Sequence[Item]) -> list[Item]:
        """Send over one association; return what was not acknowledged."""
        left: list[Item] = []
        for number, item in enumerate(pending):
            begun = time.monotonic()
            phase = self._traffic.phase
            try:
                status = line.store(item)
            except Cut:
                self._note(item, None, begun, phase)
                line.close()
                return [*left, *pending[number:]]
            self._note(item, status, begun, phase)
            if status != 0:
                left.append(item)
        line.release()
        return left

    def _note(self, item: Item, status: int | None, begun: float, phase: str) -> None:
        self._traffic.journal.note(
            uid=item.uid,
            digest=item.digest,
            status=status,
            ms=round((time.monotonic() - begun) * 1000, 2),
            phase=phase,
        )
