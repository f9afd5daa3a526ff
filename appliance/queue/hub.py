"""The hub: a ROUTER socket to which every service connects a DEALER and tells what it is interested in.

It forwards each bell to whoever listens for it: ARRIVED to the conductor itself and to idle workers,
DELIVERY to couriers, a JOB to one idle worker.
It keeps nothing on disk and nothing that matters: the ledger holds the work, and every service also polls.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import zmq

from appliance.core import log
from appliance.core.limits import DEFAULT, Limits
from appliance.disk.durable import make_folder
from appliance.queue.tickets import BadTicket, Bell, Ticket, decode, encode

_log = log.get("queue")
SOCKET_NAME = "hub.ipc"


def hub_address(run_dir: Path) -> str:
    """Return the ipc address of the hub in a run folder."""
    return f"ipc://{run_dir / SOCKET_NAME}"


class Hub:
    """The conductor's end of every bell."""

    def __init__(self, run_dir: Path, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        make_folder(run_dir)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        # A service that is gone must not block the hub; its bell is dropped.
        self._socket.sndhwm = limits.tickets_waiting_max
        self._socket.bind(hub_address(run_dir))
        self._idle: deque[bytes] = deque(maxlen=limits.tickets_waiting_max)
        self._couriers: deque[bytes] = deque(maxlen=8)

    def listen(self, seconds: float) -> bool:
        """Wait for bells, forward them, and say whether one concerns the conductor itself."""
        arrived = False
        timeout_ms = int(seconds * 1000)
        for _ in range(self._limits.tickets_waiting_max):
            if not self._socket.poll(timeout_ms):
                break
            timeout_ms = 0
            arrived |= self._take(self._socket.recv_multipart())
        return arrived

    def offer(self, job_id: int) -> bool:
        """Ring for a job at one idle worker; say whether one was idle."""
        if not self._idle:
            return False
        self._send(self._idle.popleft(), Ticket(Bell.JOB, job_id))
        return True

    def _take(self, frames: list[bytes]) -> bool:
        try:
            sender, ticket = frames[0], decode(b"".join(frames[1:]))
        except BadTicket:
            _log.warning("queue.bad_ticket", bytes=sum(map(len, frames)))
            return False
        if ticket.bell is Bell.IDLE and sender not in self._idle:
            self._idle.append(sender)
        elif ticket.bell is Bell.HELLO and sender not in self._couriers:
            self._couriers.append(sender)
        elif ticket.bell is Bell.ARRIVED:
            # Who is idle may prepare what arrives; he stays idle, and a job may still be offered to him.
            for worker in self._idle:
                self._send(worker, ticket)
        elif ticket.bell is Bell.DELIVERY:
            for courier in self._couriers:
                self._send(courier, ticket)
        # A finished job may let a study close, so a DELIVERY wakes the conductor too.
        return ticket.bell in (Bell.ARRIVED, Bell.DELIVERY, Bell.IDLE)

    def _send(self, receiver: bytes, ticket: Ticket) -> None:
        try:
            self._socket.send_multipart([receiver, encode(ticket)], zmq.NOBLOCK)
        except zmq.ZMQError:
            _log.warning("queue.bell_lost", bell=ticket.bell.name)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        self._context.term()
