"""The stand-in PACS of the night: it writes down what it accepted, and has moods."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.demo.pacs import StandInPacs
from dicom_node.errors import Refusal
from dicom_node.memory import Held
from dicom_node.status import Status
from scripts.night.archive import Book
from scripts.night.journal import Journal
from scripts.night.senders import digest_of

REPORT = "1.2.840.10008.5.1.4.1.1.88."  # SR of any kind: an answer, or why there is none
MOODS = ("down", "slow", "refusing", "losing")
_LOST_SECONDS = 0.5
_SLOW_SECONDS = 0.3


@dataclass
class MoodyPacs(StandInPacs):
    """A PACS whose journal has a line for each object before its answer leaves; it keeps no bytes."""

    accepted: Journal = field(kw_only=True)
    mood: str = "good"
    port: int = 0
    reported: set[str] = field(default_factory=set)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def start(self, port: int = 0) -> int:
        """Listen on loopback, under the port that it had."""
        self.port = super().start(port or self.port)
        return self.port

    def keep(self, arrival: Held) -> None:
        """Take one object, in the mood of the moment."""
        if self.mood == "refusing":
            raise Refusal(Status.NO_SPACE, "pacs.refusing", "out of resources: try later")
        if self.mood == "slow":
            time.sleep(_SLOW_SECONDS)
        header = arrival.header
        self.accepted.note(
            uid=header.sop_instance_uid,
            digest=digest_of(arrival.data),
            study=header.study_uid,
            sop_class=header.sop_class_uid,
            at=round(time.time(), 3),
        )
        if header.sop_class_uid.startswith(REPORT):
            self.reported.add(header.study_uid)
        if self.mood == "losing":
            # It has the object, and whoever sent it never hears so.
            threading.Thread(target=self.lose, daemon=True).start()
            time.sleep(_LOST_SECONDS)

    def lose(self) -> None:
        """Drop every association, as a PACS does that is started anew."""
        with self._turn:
            self.stop()
            self.start()


class Moods(threading.Thread):
    """Lets the PACS have one mood after the other."""

    def __init__(
        self, pacs: MoodyPacs, told: Journal, stopping: threading.Event, moods: Sequence[str] = MOODS
    ) -> None:
        super().__init__(name="moods", daemon=True)
        self._moods = moods
        self._pacs, self._told, self._stopping = pacs, told, stopping
        self._dice = random.Random(17)
        self.had: dict[str, int] = dict.fromkeys(moods, 0)

    def stop(self) -> None:
        """Let the mood be good for good."""
        self._stopping.set()
        self.join(90)

    def run(self) -> None:
        """Change the mood until told to stop; the last one is good."""
        while not self._stopping.wait(self._dice.uniform(3, 9)):
            mood = self._dice.choice(self._moods)
            self.had[mood] += 1
            self._told.note(mood=mood, at=round(time.time(), 3))
            self._have(mood, self._dice.uniform(2, 6))

    def _have(self, mood: str, seconds: float) -> None:
        pacs = self._pacs
        pacs.mood = mood
        if mood == "down":
            with pacs._turn:
                pacs.stop()
        self._stopping.wait(seconds)
        pacs.mood = "good"
        if mood == "down":
            with pacs._turn:
                pacs.start()


def pacs_in(folder: Path, ae_title: str, peers: list[str], *, commits: bool = False) -> MoodyPacs:
    """Make the PACS, which commits what it has or does not; it does not listen yet."""
    book = Book(Journal(folder / "committed.jsonl")) if commits else None
    return MoodyPacs(folder, ae_title, peers, accepted=Journal(folder / "accepted.jsonl"), steward=book)
