"""Join the calls that several jobs make of one network at the same time, and hand each its own answer.

Calls of one kind (the same tensors, shapes alike but for the first axis) are laid behind one another along
that axis, up to as many rows as the model's manifest allows, the most urgent first. A call waits for others
only while somebody is likely to make one, who just had an answer, and only milliseconds; a job that is alone
never waits.
Promises: an answer goes to who asked; every call ends, by its deadline at the latest; a call that makes a
joined one fail is found by running each by itself, so that it fails nobody else's.
Never: joins calls of different models, or lets the queue grow beyond its bound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core import log
from appliance.inference.engine import InferenceError, Tensors
from appliance.inference.limits import InferenceLimits

_log = log.get("inference")
Answers = dict[str, NDArray[Any]]
_Kind = tuple[tuple[str, str, tuple[int, ...]], ...]


class Runs(Protocol):
    """What a batcher needs of an engine."""

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> Answers:
        """Run the network once."""
        ...


@dataclass(eq=False, kw_only=True)
class Call:
    """One call on its way; whoever made it waits for `result` or cancels it."""

    tensors: Tensors
    kind: _Kind | None
    rows: int
    urgency: tuple[int, int]
    asked_at: float
    until: float
    ended_at: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _answers: Answers | None = None
    _error: InferenceError | None = None

    @property
    def open(self) -> bool:
        """Say whether anybody still waits for it."""
        return not self._ended.is_set()

    def result(self) -> Answers:
        """Wait for the answer, at most until the call's deadline.

        Raises:
            InferenceError: what the engine said; inference.deadline; inference.cancelled.
        """
        if not self._ended.wait(max(self.until - time.monotonic(), 0.0)):
            self.fail(_late())
        if self._error is not None:
            raise self._error
        assert self._answers is not None, "a call that ended has an answer or an error"
        return self._answers

    def cancel(self) -> None:
        """Want no answer any more."""
        self.fail(InferenceError("inference.cancelled", "The call was taken back."))

    def answer(self, answers: Answers) -> None:
        """End it with an answer, unless it ended already."""
        if self.open:
            self._answers, self.ended_at = answers, time.monotonic()
            self._ended.set()

    def fail(self, error: InferenceError) -> None:
        """End it with an error, unless it ended already."""
        if self.open:
            self._error, self.ended_at = error, time.monotonic()
            self._ended.set()


@dataclass(eq=False, kw_only=True)
class Caller:
    """Somebody who makes one call after the other: a job at its model. `priority` is its route's, 9 first."""

    batcher: Batcher
    priority: int = 5
    last: Call | None = None

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> Answers:
        """Run the network over these tensors, alone or beside those of others.

        Raises:
            InferenceError: what the engine says; inference.deadline; inference.busy, too many wait already.
        """
        return self.submit(batch, deadline_seconds=deadline_seconds).result()

    def submit(self, batch: Tensors, *, deadline_seconds: float) -> Call:
        """Put a call into the queue.

        Raises:
            InferenceError: inference.busy or inference.closed.
        """
        self.last = self.batcher.submit(batch, deadline_seconds=deadline_seconds, priority=self.priority)
        return self.last

    def likely_until(self, seconds: float) -> float:
        """Say until when the next call is to be expected: so long after the last one ended."""
        return 0.0 if self.last is None or self.last.open else self.last.ended_at + seconds


class Batcher:
    """The queue before one engine, and its threads: one for each call that the engine takes at once.

    Attributes:
        crashed: whether the engine's process ended under a call.
    """

    def __init__(
        self,
        engine: Runs,
        *,
        rows_max: int,
        limits: InferenceLimits,
        wait_seconds: float = 0.0,
        lanes: int = 1,
    ) -> None:
        self._engine, self._rows_max, self._limits = engine, rows_max, limits
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        self._callers: list[Caller] = []
        self._freed_at = 0.0
        self._numbers = count()
        self.crashed = self._closed = False
        self._lanes = [
            threading.Thread(target=self._run, name=f"batch-{n}", daemon=True) for n in range(lanes)
        ]
        for lane in self._lanes:
            lane.start()

    @contextmanager
    def calling(self, priority: int = 5) -> Iterator[Caller]:
        """Be somebody who calls: others' calls may wait a little for the next one of this one's."""
        caller = Caller(batcher=self, priority=priority)
        with self._changed:
            self._callers.append(caller)
        try:
            yield caller
        finally:
            with self._changed:
                self._callers.remove(caller)
                self._changed.notify_all()

    def submit(self, batch: Tensors, *, deadline_seconds: float, priority: int = 5) -> Call:
        """Put a call into the queue.

        Raises:
            InferenceError: inference.busy or inference.closed.
        """
        now = time.monotonic()
        kind, rows = _kind_of(batch)
        call = Call(
            tensors=batch,
            kind=kind,
            rows=rows,
            urgency=(-priority, next(self._numbers)),
            asked_at=now,
            until=now + deadline_seconds,
        )
        with self._changed:
            if self._closed:
                raise _put_away()
            self._waiting = [waiting for waiting in self._waiting if waiting.open]
            if len(self._waiting) >= self._limits.queue_calls_max:
                raise InferenceError(
                    "inference.busy", f"{len(self._waiting)} calls wait for this model, and no more may."
                )
            self._waiting.append(call)
            self._changed.notify_all()
        return call

    def close(self) -> None:
        """Take no more calls and end those that wait; one that is under way goes on."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
        for call in waiting:
            call.fail(_put_away())

    def _run(self) -> None:
        while group := self._next():
            try:
                self._serve(group)
            finally:
                with self._changed:
                    self._freed_at = time.monotonic()

    def _next(self) -> list[Call]:
        """Wait for calls, give others a moment to join them, and take what goes together; none at the end."""
        with self._changed:
            while not self._closed:
                self._drop_ended()
                if not self._waiting:
                    self._changed.wait()
                    continue
                group = self._together_now()
                left = self._patience(group)
                if left <= 0:
                    self._waiting = [call for call in self._waiting if call not in group]
                    return group
                self._changed.wait(left)
            return []

    def _drop_ended(self) -> None:
        """Let go of calls that nobody waits for, and end those whose deadline passed in the queue."""
        now = time.monotonic()
        for call in self._waiting:
            if call.until <= now:
                call.fail(_late())
        self._waiting = [call for call in self._waiting if call.open]

    def _together_now(self) -> list[Call]:
        """Pick the most urgent call and what may be joined to it, by urgency, as far as there is room."""
        first, *others = sorted(self._waiting, key=lambda call: call.urgency)
        group, rows = [first], first.rows
        for call in others:
            if call.kind is not None and call.kind == first.kind and rows + call.rows <= self._rows_max:
                group.append(call)
                rows += call.rows
        return group

    def _patience(self, group: Sequence[Call]) -> float:
        """Give the seconds this group may still wait for others; none when nobody is likely to call.

        They count from when the engine was free, or jobs that take turns would never meet.
        """
        if group[0].kind is None or sum(call.rows for call in group) >= self._rows_max:
            return 0.0
        since = max(self._freed_at, min(call.asked_at for call in group))
        likely = max((caller.likely_until(self._wait_seconds) for caller in self._callers), default=0.0)
        return min(since + self._wait_seconds, likely) - time.monotonic()

    def _serve(self, group: Sequence[Call]) -> None:
        calls = [call for call in group if call.open]
        if len(calls) > 1 and self._joined(calls):
            return
        for call in calls:
            self._alone(call)

    def _joined(self, calls: Sequence[Call]) -> bool:
        """Run calls as one; say whether that gave everybody an answer."""
        rows = sum(call.rows for call in calls)
        batch = {name: np.concatenate([call.tensors[name] for call in calls]) for name in calls[0].tensors}
        try:
            answers = self._infer(batch, until=max(call.until for call in calls))
        except InferenceError as error:
            _log.warning("inference.apart", calls=len(calls), word=error.word)
            return False
        if any(answer.ndim == 0 or len(answer) != rows for answer in answers.values()):
            # An output that has nothing to do with the first axis: this network's calls cannot be joined.
            _log.warning("inference.apart", calls=len(calls), word="inference.rows")
            self._rows_max = 1
            return False
        first = 0
        for call in calls:
            mine = slice(first, first + call.rows)
            call.answer({name: answer[mine] for name, answer in answers.items()})
            first += call.rows
        return True

    def _alone(self, call: Call) -> None:
        if not call.open:
            return
        try:
            call.answer(self._infer(call.tensors, until=call.until))
        except InferenceError as error:
            call.fail(error)

    def _infer(self, batch: Tensors, *, until: float) -> Answers:
        left = until - time.monotonic()
        if left <= 0:
            raise _late()
        try:
            return self._engine.infer(batch, deadline_seconds=left)
        except InferenceError as error:
            self.crashed |= error.word == "inference.crashed"
            raise
        # The batcher's main loop: whatever an engine brings about must end the call, and a thread that died
        # of it would end no other.
        except Exception as error:
            _log.error("inference.unforeseen", error=type(error).__name__, where=log.where(error))
            raise InferenceError(
                "inference.failed", f"The engine met an unforeseen fault ({type(error).__name__})."
            ) from error


def _kind_of(batch: Tensors) -> tuple[_Kind | None, int]:
    """Say what a call may be joined with, and its rows; None where its tensors have no first axis alike."""
    lengths = {tensor.shape[:1] for tensor in batch.values()}
    if len(lengths) != 1 or lengths == {()} or lengths == {(0,)}:
        return None, 1
    kind = tuple((name, tensor.dtype.str, tensor.shape[1:]) for name, tensor in sorted(batch.items()))
    return kind, next(iter(lengths))[0]


def _late() -> InferenceError:
    return InferenceError("inference.deadline", "The network did not answer in the time it had.")


def _put_away() -> InferenceError:
    return InferenceError("inference.closed", "The model was put away before the call could run.")
