"""Who is asking: sessions, one-time links and HTTP basic, all for the same configured users.

Promises: a session is a random token of which the ledger keeps a digest; it ends by time or log-out;
a user who was taken out of the configuration has no session any more.
Never: reads a token from a URL except in the one-time link, which is worthless after its first use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from dataclasses import dataclass

from starlette.requests import Request

from appliance.console.limits import Limits
from appliance.console.passwords import Passwords, TooBusy
from appliance.console.throttle import Throttle
from appliance.core.clock import Clock
from appliance.ledger import events, tokens
from appliance.ledger.engine import Ledger

SESSION_COOKIE = "readside_session"
# In front of the name of somebody whom only a one-time link knows; no configured name can hold a colon.
_BY_LINK = "link:"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A person who is logged in; `session` is empty for HTTP basic."""

    name: str
    session: str

    @property
    def csrf(self) -> str:
        """Return what a form of this session must carry; without the session nobody can compute it."""
        return hmac.new(self.session.encode(), b"readside csrf", hashlib.sha256).hexdigest()


class LogInNeeded(Exception):
    """Nobody is logged in with this request."""


class Turned(Exception):
    """A log-in was turned away; `sentence` says why, `wait_seconds` when to try again."""

    def __init__(self, status: int, sentence: str, wait_seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.wait_seconds = status, sentence, math.ceil(wait_seconds)


class Doorkeeper:
    """Lets people in and knows them again."""

    def __init__(
        self, ledger: Ledger, passwords: Passwords, throttle: Throttle, clock: Clock, limits: Limits
    ) -> None:
        self._ledger, self._passwords, self._throttle = ledger, passwords, throttle
        self._clock, self._limits = clock, limits

    def log_in(self, name: str, password: str, address: str) -> str:
        """Open a session and return its token.

        Raises:
            Turned: wrong, or too many tries; the answer is the same whether the user exists or not.
        """
        self._prove(name, password, address)
        return self._open_session(name, "password")

    def log_in_once(self, token: str, address: str) -> str:
        """Open a session with a one-time link and return its token; the link is worthless afterwards.

        Raises:
            Turned: the link is unknown, used or too old.
        """
        self._start(None, address)
        with self._ledger.write() as tx:
            name = tokens.spend(tx, tokens.TokenKind.LOGIN_LINK, token, at=self._clock.now())
        if name is None:
            raise Turned(401, "This link was used already or is too old. Ask for a new one.")
        self._throttle.succeed(None, address)
        return self._open_session(name if self._passwords.known(name) else f"{_BY_LINK}{name}", "link")

    def log_out(self, visitor: Visitor) -> None:
        """End a session; its token is worthless on return."""
        now = self._clock.now()
        with self._ledger.write() as tx:
            tokens.spend(tx, tokens.TokenKind.SESSION, visitor.session, at=now)
            events.add(tx, "console.logout", at=now, user=visitor.name)

    def visitor(self, request: Request) -> Visitor:
        """Return who asks, by the session cookie.

        Raises:
            LogInNeeded: there is no cookie, or its session ended.
        """
        token = request.cookies.get(SESSION_COOKIE, "")
        if not token:
            raise LogInNeeded
        with self._ledger.read() as tx:
            holder = tokens.holder(tx, tokens.TokenKind.SESSION, token, at=self._clock.now())
        if holder is None or not (holder.startswith(_BY_LINK) or self._passwords.known(holder)):
            raise LogInNeeded
        return Visitor(name=holder.removeprefix(_BY_LINK), session=token)

    def caller(self, request: Request) -> Visitor:
        """Return who asks, by HTTP basic (RFC 7617) or the session cookie.

        Raises:
            LogInNeeded: neither is there.
            Turned: the basic credentials are wrong, or were too often.
        """
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return self.visitor(request)
        name, password = basic(encoded)
        if not self._passwords.proven(name, password):
            self._prove(name, password, address_of(request))
        return Visitor(name=name, session="")

    def _prove(self, name: str, password: str, address: str) -> None:
        self._start(name, address)
        try:
            right = self._passwords.check(name, password)
        except TooBusy:
            raise Turned(
                503, "Too many people are logging in at this moment. Try again in a minute.", 60
            ) from None
        if not right:
            self._record_failure(name)
            raise Turned(401, "The name or the password is wrong.")
        self._throttle.succeed(name, address)

    def _start(self, name: str | None, address: str) -> None:
        wait = self._throttle.start(name, address)
        if wait is not None:
            raise Turned(429, "Too many log-ins failed. Wait some minutes and try again.", wait)

    def _record_failure(self, name: str) -> None:
        # A name that nobody has may be a password in the wrong field: it is not written down.
        user = name if self._passwords.known(name) else "unknown name"
        with self._ledger.write() as tx:
            events.add(tx, "console.login_failed", at=self._clock.now(), user=user)

    def _open_session(self, name: str, by: str) -> str:
        now = self._clock.now()
        with self._ledger.write() as tx:
            token = tokens.issue(
                tx, tokens.TokenKind.SESSION, name, at=now, seconds=self._limits.session_seconds
            )
            events.add(tx, "console.login", at=now, user=name.removeprefix(_BY_LINK), by=by)
        return token


def address_of(request: Request) -> str:
    """Return the address a request came from."""
    return request.client.host if request.client else "unknown"


def basic(encoded: str) -> tuple[str, str]:
    """Return name and password of a Basic authorization (RFC 7617).

    Raises:
        LogInNeeded: it is none.
    """
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise LogInNeeded from None
    name, _, password = text.partition(":")
    return name, password
