"""Who is asking: sessions in the database and HTTP basic, both for the registry's accounts.

Promises: every process knows every session; a disabled account is let in nowhere from that moment.
Passwords, their throttle and the proofs of forms are the console's (`appliance.console`).
Never: counts failures for several processes together: each has its own throttle.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from appliance.console.access import LogInNeeded, Turned, Visitor, address_of, basic
from appliance.console.limits import DEFAULT as CONSOLE
from appliance.console.passwords import Passwords, TooBusy
from appliance.console.throttle import Throttle
from appliance.core.clock import Clock
from provisioning.registry.database import accounts, audit
from provisioning.registry.database.accounts import Account
from provisioning.registry.database.engine import Database
from provisioning.registry.database.words import Role
from provisioning.registry.server.limits import ServerLimits

SESSION_COOKIE = "readside_registry"
_UNKNOWN = "unknown name"


@dataclass(frozen=True, kw_only=True)
class Person(Visitor):
    """Somebody who is logged in; `session` is empty for HTTP basic."""

    role: Role


class Doorkeeper:
    """Lets people in and knows them again."""

    def __init__(self, database: Database, clock: Clock, limits: ServerLimits) -> None:
        self._database, self._clock, self._limits = database, clock, limits
        self._passwords = Passwords((), clock, CONSOLE)
        self._throttle = Throttle((), clock, CONSOLE)

    def log_in(self, name: str, password: str, address: str) -> str:
        """Open a session and return its token.

        Raises:
            Turned: wrong, or too many tries; the answer is the same whether the account exists or not.
        """
        account = self._proven(name, password, address)
        now = self._clock.now()
        with self._database.write() as tx:
            audit.note(tx, at=now, who=account.name, act="account.login", subject=account.name)
            return accounts.open_session(tx, account.name, at=now, seconds=self._limits.session_seconds)

    def log_out(self, person: Person) -> None:
        """End a session; its token is worthless on return."""
        with self._database.write() as tx:
            accounts.end(tx, person.session)

    def person(self, request: Request) -> Person:
        """Return who asks, by the session cookie.

        Raises:
            LogInNeeded: there is no cookie, or its session ended.
        """
        token = request.cookies.get(SESSION_COOKIE, "")
        if not token:
            raise LogInNeeded
        with self._database.read() as tx:
            account = accounts.holder(tx, token, at=self._clock.now())
        if account is None:
            raise LogInNeeded
        return Person(name=account.name, session=token, role=account.role)

    def caller(self, request: Request) -> Person:
        """Return who asks, by HTTP basic (RFC 7617) or the session cookie.

        Raises:
            LogInNeeded: neither is there.
            Turned: the basic credentials are wrong, or were too often.
        """
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return self.person(request)
        account = self._proven(*basic(encoded), address_of(request))
        return Person(name=account.name, session="", role=account.role)

    def _proven(self, name: str, password: str, address: str) -> Account:
        with self._database.read() as tx:
            account = accounts.find(tx, name)
        there = account if account is not None and account.disabled_at is None else None
        self._passwords.know(name, there.password_hash if there is not None else None)
        if there is not None and self._passwords.proven(name, password):
            return there
        if there is not None:
            self._throttle.know(name)
        wait = self._throttle.start(name, address)
        if wait is not None:
            raise Turned(429, "Too many log-ins failed. Wait some minutes and try again.", wait)
        try:
            right = self._passwords.check(name, password)
        except TooBusy:
            raise Turned(
                503, "Too many people are logging in at this moment. Try again in a minute.", 60
            ) from None
        if not right or there is None:
            self._record_failure(there)
            raise Turned(401, "The name or the password is wrong.")
        self._throttle.succeed(name, address)
        return there

    def _record_failure(self, account: Account | None) -> None:
        # A name that nobody has may be a password in the wrong field: it is not written down.
        who = _UNKNOWN if account is None else account.name
        with self._database.write() as tx:
            audit.note(tx, at=self._clock.now(), who=who, act="account.login_failed", subject=who)
