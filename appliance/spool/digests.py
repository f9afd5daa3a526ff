"""Digests of instances that are durable already: computed behind the answer, before the row.

Promises: each instance that is handed over becomes a row, in any order.
Never: lets more than a few wait: then who brought an instance computes its digest himself, and is slower.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from appliance.core import log

_log = log.get("spool")
Work = Callable[[], None]


class Digests:
    """Threads that finish instances; hashing releases the interpreter, so others go on meanwhile."""

    def __init__(self, *, threads: int, waiting_max: int, on_fault: Callable[[], None]) -> None:
        # Put and taken without a lock of Python's own; a few more than the bound may slip in together.
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._waiting_max = waiting_max
        self._on_fault = on_fault
        self._running = False
        self._threads = [
            threading.Thread(target=self._run, name=f"digest-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to take work."""
        self._running = True
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Do what is waiting, then end; an instance that comes later is finished by who brought it."""
        if not self._running:
            return
        self._running = False
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def put(self, work: Work) -> None:
        """Have an instance finished, here and now if too many wait."""
        if self._running and self._waiting.qsize() < self._waiting_max:
            self._waiting.put(work)
        else:
            work()

    def _run(self) -> None:
        try:
            while work := self._waiting.get():
                work()
        # A thread that died silently would leave kept instances without rows: the service must end and sweep.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            _log.critical("spool.fault", error=type(error).__name__, where=log.where(error))
            self._on_fault()
