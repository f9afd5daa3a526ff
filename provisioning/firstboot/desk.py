"""What the page shares between requests: the sitting, the door, and whether it is over.

Promises: one request at a time changes answers.
"""

from __future__ import annotations

import threading

from appliance.console.forms import FormKey
from appliance.core.clock import SYSTEM, Clock
from provisioning.firstboot.door import Door
from provisioning.firstboot.finish import Finished, finish
from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.sitting import Sitting


class Desk:
    """One page's state; any thread may use it under `lock`."""

    def __init__(self, sitting: Sitting, door: Door, *, over: bool = False, clock: Clock = SYSTEM) -> None:
        self.sitting, self.door = sitting, door
        self.form_key, self.lock = FormKey(), threading.Lock()
        self.done: Finished | None = None
        self._over, self._clock = over, clock
        self._ends_at: float | None = None

    def finish(self) -> Finished:
        """Write and enrol; without a fault the page ends soon after.

        Raises:
            AnswerFault, FinishFault, NoSpace, DiskFault: as for `finish.finish`.
        """
        self.done = finish(self.sitting, over=self._over)
        if not self.done.enrol_fault:
            self.end()
        return self.done

    def end(self) -> None:
        """End soon: the page that says so still has to arrive."""
        self._ends_at = self._clock.elapsed() + DEFAULT.grace_seconds

    def is_over(self) -> bool:
        """Say whether nothing more is asked here."""
        ended = self._ends_at is not None and self._clock.elapsed() >= self._ends_at
        return ended or self.door.is_idle()

    def last_word(self) -> str:
        """Return what the terminal says at the end."""
        if self.done is None:
            return "Nothing was written. The answers are kept: run it again to go on."
        fault = f" Not enrolled: {self.done.enrol_fault}" if self.done.enrol_fault else ""
        return f"{self.done.config} is written.{fault}"
