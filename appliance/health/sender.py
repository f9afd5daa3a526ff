"""Sends what waits in the outbox to the registry: newest state first, then the past, in batches.

Promises: every batch is noted before it leaves, with what was answered; what was not acknowledged is sent
again; a registry that asks for a pause gets it; a record that it will never take does not hold up the rest.
Never: reads anything but the outbox.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core import log
from appliance.health.limits import SEND, SendLimits
from appliance.health.outbox import Outbox
from appliance.health.schema import encode

WAY: Final = "registry"
TAKEN: Final = "taken"
_log = log.get("telemetry")


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What became of one batch.

    Attributes:
        answer: the registry's, where it took the batch.
        word: "taken", or a fixed word for why not.
        left: whether a byte of it may have left the site.
        unfit: whether the registry will never take these records.
        pause_seconds: how long it asks to be left alone.
    """

    answer: bytes | None
    word: str
    left: bool = True
    unfit: bool = False
    pause_seconds: float | None = None


@dataclass(kw_only=True)
class Sender:
    """Empties an outbox with `post`, which sends one batch and never raises."""

    outbox: Outbox
    post: Callable[[bytes], Posted]
    limits: SendLimits = SEND
    jitter: Callable[[float, float], float] = random.uniform
    _failures: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)

    def turn(self) -> float:
        """Send what waits, as far as it goes; return the seconds until the next turn."""
        self.outbox.trim()
        for _ in range(self.limits.batches_max):
            size = self._size or self.limits.records_max
            records = self.outbox.waiting(size)
            if not records:
                return self._pause(self.limits.every_seconds)
            posted = self._send(encode(records))
            if posted.unfit:
                self._refused([record.seq for record in records])
            elif posted.word != TAKEN:
                return self._failed(posted)
            else:
                acknowledged = self._heard(posted.answer or b"")
                done = [record.seq for record in records if record.seq <= acknowledged]
                if not done:
                    return self._failed(Posted(answer=None, word="not_acknowledged"))
                self.outbox.sent(done)
                self._failures, self._size = 0, 0
        return self._pause(self.limits.every_seconds)

    def _send(self, body: bytes) -> Posted:
        number = self.outbox.depart(WAY, body)
        posted = self.post(body)
        if posted.left:
            self.outbox.departed(number, posted.word)
        else:
            self.outbox.stayed(number)
        return posted

    def _heard(self, answer: bytes) -> int:
        """Read what the registry answered; return the highest number that it says it has."""
        try:
            said: Any = json.loads(answer)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or type(said.get("acknowledged")) is not int:
            return 0
        if type(said.get("now")) is int and 0 <= said["now"] < 2**32:
            # Half of the way there and back is in it; what it is for is minutes, not moments.
            self.outbox.note("clock_offset", self.outbox.clock.now() - said["now"])
        for name in ("director", "image"):
            if type(said.get(name)) is int and 0 <= said[name] < 2**53:
                self.outbox.note(name, float(said[name]))
        self.outbox.note("heard_at", self.outbox.clock.now())
        acknowledged: int = said["acknowledged"]
        return acknowledged

    def _refused(self, seqs: list[int]) -> None:
        """Look for the record that the registry does not take, in smaller batches; alone it is given up."""
        if len(seqs) == 1:
            self.outbox.give_up(seqs)
            self._size = 0
            _log.warning("telemetry.record_refused")
            return
        self._size = max(1, len(seqs) // 2)

    def _failed(self, posted: Posted) -> float:
        limits = self.limits
        pause = min(limits.backoff_seconds * 2.0 ** min(self._failures, 20), limits.backoff_seconds_max)
        self._failures += 1
        if posted.pause_seconds is not None:
            pause = max(pause, min(posted.pause_seconds, limits.retry_after_seconds_max))
        pause = self._pause(pause)
        _log.warning(
            "telemetry.not_taken",
            word=posted.word,
            waiting=self.outbox.backlog(),
            again_in_seconds=round(pause),
        )
        return pause

    def _pause(self, seconds: float) -> float:
        # Never shorter than a registry asked for: the spread goes one way.
        return seconds * self.jitter(1.0, 1 + 2 * self.limits.spread)
