"""The servers of a site, in the order they are tried; one that failed is passed over for a while.

What failed is remembered by the process, not by one engine: the next model need not run into it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from appliance.inference.kserve.wire import Trouble, Wire, WireFault
from appliance.inference.limits import InferenceLimits

T = TypeVar("T")


class NoOffer(Exception):
    """Servers cannot do what is wanted now; `reasons` holds a sentence for each of them."""

    def __init__(self, *reasons: str) -> None:
        """Keep the reasons."""
        super().__init__(" ".join(reasons))
        self.reasons = reasons


class PassedOver:
    """Servers that failed, each until a time."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def add(self, url: str, reason: str, *, seconds: float) -> None:
        """Pass a server over from now on for so long."""
        with self._lock:
            self._until[url] = (time.monotonic() + seconds, reason)

    def reason(self, url: str) -> str | None:
        """Return why a server is passed over; none when it may be asked."""
        with self._lock:
            until, reason = self._until.get(url, (0.0, ""))
            if time.monotonic() < until:
                return reason
            self._until.pop(url, None)
            return None


PASSED_OVER = PassedOver()


class Servers:
    """The servers that a site names, `http://host:port` or `grpc://host:port`."""

    def __init__(self, urls: Sequence[str], limits: InferenceLimits) -> None:
        self._urls, self._limits = urls, limits

    def first(self, question: Callable[[Wire], T]) -> tuple[str, Wire, T]:
        """Return the first server that answers a question well, the way to it, and its answer.

        Raises:
            NoOffer: none does; every reason is given.
        """
        reasons: list[str] = []
        for url in self._urls:
            try:
                return url, *self.ask(url, question)
            except NoOffer as no:
                reasons += no.reasons
        raise NoOffer(*reasons or ["No server is configured ([inference] kserve)."])

    def ask(self, url: str, question: Callable[[Wire], T]) -> tuple[Wire, T]:
        """Ask one server; return the way to it with its answer. One that does not answer is passed over.

        Raises:
            NoOffer: with the reason.
        """
        if (reason := PASSED_OVER.reason(url)) is not None:
            raise NoOffer(f"The server {place(url)} is passed over for a while: {reason}.")
        wire = None
        try:
            wire = _wire_to(url, self._limits)
            return wire, question(wire)
        except (WireFault, NoOffer) as error:
            if wire is not None:
                wire.close()
            if isinstance(error, NoOffer):
                raise NoOffer(*(f"The server {place(url)}: {reason}." for reason in error.reasons)) from error
            if error.trouble is not Trouble.NO_CLIENT:
                self.pass_over(url, error.sentence)
            raise NoOffer(f"The server {place(url)}: {error.sentence}.") from error

    def pass_over(self, url: str, reason: str) -> None:
        """Do not ask a server for a while."""
        PASSED_OVER.add(url, reason, seconds=self._limits.kserve_passed_over_seconds)


def place(url: str) -> str:
    """Return host and port, as people are told where a server is."""
    return urlsplit(url).netloc


def _wire_to(url: str, limits: InferenceLimits) -> Wire:
    """Make the way to a server; nothing is sent yet.

    Raises:
        WireFault: the client library is not there.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    try:
        if parts.scheme == "grpc":
            from appliance.inference.kserve.grpc import GrpcWire

            return GrpcWire(host, port, limits)
        from appliance.inference.kserve.http import HttpWire

        return HttpWire(host, port, limits)
    except ImportError as error:
        raise WireFault(Trouble.NO_CLIENT) from error
