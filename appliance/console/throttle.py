"""How often a log-in may fail, for each address and each user, with a bound on what is remembered.

A try counts as failed from its start until it is proven right, so tries side by side cannot slip through.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from appliance.console.limits import Limits
from appliance.core.clock import Clock

# All names that nobody has share one account: guessing names fills no memory.
_NOBODY = ""


class Throttle:
    """Counts failures over a sliding window; nothing of it outlives the process."""

    def __init__(self, users: Iterable[str], clock: Clock, limits: Limits) -> None:
        self._clock, self._limits, self._lock = clock, limits, threading.Lock()
        per_user = limits.failures_per_user_max
        self._users = {name: deque[float](maxlen=per_user) for name in (*users, _NOBODY)}
        self._addresses: OrderedDict[str, deque[float]] = OrderedDict()

    def know(self, user: str) -> None:
        """Give a user who came later an account of his own; nobody else's failures count against him."""
        with self._lock:
            self._users.setdefault(user, deque(maxlen=self._limits.failures_per_user_max))

    def start(self, user: str | None, address: str) -> float | None:
        """Count a try; return nothing if it may go on, else the seconds to wait before the next."""
        now = self._clock.elapsed()
        with self._lock:
            accounts = self._accounts(user, address)
            wait = max(self._wait(account, now) for account in accounts)
            if wait > 0:
                return wait
            for account in accounts:
                account.append(now)
            return None

    def succeed(self, user: str | None, address: str) -> None:
        """Take back the try that `start` counted: it was right."""
        with self._lock:
            for account in self._accounts(user, address):
                if account:
                    account.pop()

    def _wait(self, account: deque[float], now: float) -> float:
        full = len(account) == account.maxlen
        return account[0] + self._limits.failures_seconds - now if full else 0.0

    def _accounts(self, user: str | None, address: str) -> list[deque[float]]:
        by_address = self._address_account(_network(address))
        return [by_address] if user is None else [by_address, self._users.get(user, self._users[_NOBODY])]

    def _address_account(self, network: str) -> deque[float]:
        account = self._addresses.setdefault(network, deque(maxlen=self._limits.failures_per_address_max))
        self._addresses.move_to_end(network)
        if len(self._addresses) > self._limits.addresses_max:
            self._addresses.popitem(last=False)
        return account


def _network(address: str) -> str:
    """Return what one person can easily have many of as one: an IPv6 /64, an IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
