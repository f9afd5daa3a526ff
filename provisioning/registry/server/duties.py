"""What one of the server's processes does beside answering: by a lease in the database, one at a time.

Promises: a duty that fails is in the log and comes again; a process that dies gives its duties up within the
lease.
Never: holds a transaction while it waits for the network.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from appliance.core import log
from appliance.ledger.reading import LedgerFault
from provisioning.registry.database import leases
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.room import Room

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
LEASE = "duties"


@dataclass(frozen=True, kw_only=True)
class Duty:
    """Something that only one process does, again and again.

    Attributes:
        name: for the log.
        every_seconds: at the most often.
        work: one turn of it, which must be short against the lease.
    """

    name: str
    every_seconds: float
    work: Callable[[Room], None]


class Duties:
    """The thread that does them while this process holds the lease."""

    def __init__(self, room: Room, duties: Sequence[Duty]) -> None:
        self._room, self._duties = room, duties
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._due = dict.fromkeys((duty.name for duty in duties), float("-inf"))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="duties", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the turn that runs, and let another process have the lease at once."""
        self._stopping.set()
        self._thread.join()

    def turn(self) -> None:
        """Do what is due, each if the lease is this process's at that moment."""
        for duty in self._duties:
            now = self._room.clock.elapsed()
            if now < self._due[duty.name] or not self._holds():
                continue
            self._due[duty.name] = now + duty.every_seconds
            try:
                duty.work(self._room)
            except (LedgerFault, RegistryFault, OSError) as error:
                _log.error("registry.duty_failed", duty=duty.name, error=type(error).__name__)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - the main loop: the next turn comes
                _log.error("registry.duty_failed", duty="", error=type(error).__name__)
            self._stopping.wait(self._room.limits.duty_seconds)
        self._give_back()

    def _holds(self) -> bool:
        limits, now = self._room.limits, self._room.clock.now()
        with self._room.database.write() as tx:
            return leases.take(tx, LEASE, self._owner, at=now, seconds=limits.lease_seconds)

    def _give_back(self) -> None:
        try:
            with self._room.database.write() as tx:
                leases.give_back(tx, LEASE, self._owner)
        except LedgerFault as fault:
            _log.error("registry.duty_failed", duty="lease", error=type(fault).__name__)
