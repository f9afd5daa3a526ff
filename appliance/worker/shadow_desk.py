"""Where lanes leave the answers that a shadow is to be held against. Memory only.

Promises: leaving an answer costs a lane no more than a look at a table in memory.
Never: waits, copies, writes, or keeps more than its bounds; what finds no room is counted later, as not kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.ledger.jobs import Job
from appliance.worker.limits import ShadowLimits
from models.findings import Findings


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What the version that serves found in one job's series, after its result was recorded."""

    job: Job
    findings: Findings

    @property
    def bytes(self) -> int:
        """Return about how much memory it takes."""
        return sum(segment.mask.nbytes for segment in self.findings.segments)


class ShadowDesk:
    """Answers on their way to a comparison; any lane may leave one, one thread takes them."""

    def __init__(self, limits: ShadowLimits | None = None) -> None:
        self._limits = limits or ShadowLimits()
        self._lock = threading.Lock()
        self._answers: deque[Answer] = deque()
        self._shadows: Mapping[str, str] = {}
        self.bell = threading.Event()

    def expect(self, shadows: Mapping[str, str]) -> None:
        """Take answers of these models from now on: name -> digest of the version that runs beside."""
        self._shadows = dict(shadows)

    def leave(self, job: Job, findings: Findings) -> None:
        """Leave an answer, where a shadow of the model runs and there is room."""
        digest = self._shadows.get(job.model_name)
        if digest is None or digest == job.model_digest or job.run != 1:
            return
        answer = Answer(job=job, findings=findings)
        with self._lock:
            held = sum(one.bytes for one in self._answers)
            if len(self._answers) >= self._limits.answers_max:
                return
            if held + answer.bytes > self._limits.answers_bytes_max:
                return
            self._answers.append(answer)
        self.bell.set()

    def take(self) -> Answer | None:
        """Take the oldest answer."""
        with self._lock:
            return self._answers.popleft() if self._answers else None
