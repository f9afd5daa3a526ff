"""Whether a name and a password belong together, in the same time whether the name exists or not."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.console.limits import Limits
from appliance.core.clock import Clock
from appliance.core.config import User


class TooBusy(Exception):
    """Too many log-ins are being checked at this moment."""


class Passwords:
    """The configured users' Argon2id hashes (RFC 9106) and what was proven right a moment ago."""

    def __init__(self, users: Sequence[User], clock: Clock, limits: Limits) -> None:
        self._hashes = {user.name: user.password_hash for user in users}
        self._clock, self._limits = clock, limits
        self._hasher = PasswordHasher()
        # Compared for a name that nobody has; made like the others, so that it costs as much.
        self._decoy = users[0].password_hash if users else self._hasher.hash(secrets.token_hex(16))
        self._places = threading.Semaphore(limits.password_checks_at_once_max)
        self._key = secrets.token_bytes(32)
        self._proven: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, name: str) -> bool:
        """Say whether the configuration has a user of this name."""
        return name in self._hashes

    def know(self, name: str, password_hash: str | None) -> None:
        """Let a name have this hash from now on, or none: where accounts come and go while all runs."""
        if password_hash is None:
            self._hashes.pop(name, None)
        else:
            self._hashes[name] = password_hash

    def check(self, name: str, password: str) -> bool:
        """Say whether the password is this user's.

        Raises:
            TooBusy: no check could begin within the bound.
        """
        if len(password) > self._limits.password_chars_max or not password:
            return False
        if not self._places.acquire(timeout=self._limits.password_wait_seconds_max):
            raise TooBusy
        try:
            matches = self._matches(self._hashes.get(name, self._decoy), password)
        finally:
            self._places.release()
        right = matches and name in self._hashes
        if right:
            self._remember(name, password)
        return right

    def proven(self, name: str, password: str) -> bool:
        """Say whether exactly this pair was proven right a moment ago."""
        with self._lock:
            at = self._proven.get(self._mark(name, password))
        return at is not None and self._clock.elapsed() - at <= self._limits.proven_seconds

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _remember(self, name: str, password: str) -> None:
        with self._lock:
            self._proven[self._mark(name, password)] = self._clock.elapsed()
            while len(self._proven) > self._limits.proven_max:
                self._proven.popitem(last=False)

    def _mark(self, name: str, password: str) -> bytes:
        # With the hash in it, a former password was proven for nothing.
        known = f"{len(name)}:{name}{self._hashes.get(name, '')}"
        text = f"{len(known)}:{known}{password}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()
