"""A service's end of the bells: ring, or wait for one.

Both may fail without harm, since everyone also polls.
"""

from __future__ import annotations

from pathlib import Path

import zmq

from appliance.core import log
from appliance.core.limits import DEFAULT, Limits
from appliance.queue.hub import hub_address
from appliance.queue.tickets import BadTicket, Ticket, decode, encode

_log = log.get("queue")


class BellCord:
    """One DEALER socket to the hub. Belongs to one thread."""

    def __init__(self, run_dir: Path, limits: Limits = DEFAULT) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.sndhwm = limits.tickets_waiting_max
        self._socket.connect(hub_address(run_dir))

    def ring(self, ticket: Ticket) -> None:
        """Send a bell; dropped if the hub is away and too many wait already."""
        try:
            self._socket.send(encode(ticket), zmq.NOBLOCK)
        except zmq.Again:
            _log.debug("queue.bell_lost", bell=ticket.bell.name)

    def wait(self, seconds: float) -> Ticket | None:
        """Wait for a bell; nothing if none came in time or what came was no ticket."""
        if not self._socket.poll(int(seconds * 1000)):
            return None
        try:
            return decode(self._socket.recv())
        except BadTicket:
            _log.warning("queue.bad_ticket")
            return None

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        self._context.term()
