"""Who may answer on the page: whoever has the claim code of the label, one browser at a time.

Promises: after five wrong codes nobody gets in for five minutes, with the right one neither; who comes in
with the code takes the place of who was in before.
"""

from __future__ import annotations

import secrets
import threading

from appliance.console.forms import same
from appliance.core.clock import Clock
from provisioning.firstboot.limits import DEFAULT, BootLimits
from provisioning.identity.code import CodeFault, read


class Door:
    """The door of one page; any thread may knock."""

    def __init__(self, code: str, clock: Clock, limits: BootLimits = DEFAULT) -> None:
        self._code, self._clock, self._limits = code, clock, limits
        self._lock = threading.Lock()
        self._wrong, self._opens_at, self._session = 0, 0.0, ""
        self._seen = clock.elapsed()

    def enter(self, text: str) -> str:
        """Return the token of a session for the right code, else nothing."""
        with self._lock:
            if self._waits() > 0:
                return ""
            if not same(self._code, _read(text)):
                self._count()
                return ""
            self._wrong, self._session = 0, secrets.token_urlsafe(32)
            self._seen = self._clock.elapsed()
            return self._session

    def knows(self, token: str) -> bool:
        """Say whether a session is the one that is in; who is in keeps the page open."""
        with self._lock:
            known = bool(self._session) and same(self._session, token)
            if known:
                self._seen = self._clock.elapsed()
            return known

    def waits_seconds(self) -> float:
        """Return how long the door stays locked; 0: it is not."""
        with self._lock:
            return self._waits()

    def is_idle(self) -> bool:
        """Say whether nobody who was let in asked for too long."""
        with self._lock:
            return self._clock.elapsed() - self._seen > self._limits.idle_seconds_max

    def _waits(self) -> float:
        return max(self._opens_at - self._clock.elapsed(), 0.0)

    def _count(self) -> None:
        self._wrong += 1
        if self._wrong >= self._limits.tries_max:
            self._wrong, self._opens_at = 0, self._clock.elapsed() + self._limits.locked_seconds


def _read(text: str) -> str:
    """Return a code in one piece; what cannot be one is wrong like any other."""
    try:
        return read(text)
    except CodeFault:
        return "-"
