"""The process in which one model's engine lives: `python -m appliance.inference.serving_child LINE LIFE`.

Libraries of vendors crash, hang and keep memory, so they do it here.
The kernel ends this process as soon as the box's end of the LIFE pipe closes, however the box ended and
whatever a library is doing at that moment.
Never: decides anything. It is told what to open, does one thing at a time, and answers in JSON.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from appliance.inference.engine import Engine, EnginePlan, InferenceError
from appliance.inference.line import Gone, Line, Message
from appliance.inference.shared import Arena, SlipError, bytes_of

_F_SETSIG = 10  # not in Python's fcntl
# The kernel's choice when memory runs out: a serving child before the worker that can start another.
_OOM_SCORE = b"500"
_SENTENCE_LENGTH_MAX = 2_000
_Fields = dict[str, Any]


class Server:
    """One engine and the memory it shares with the box."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._engine: Engine | None = None
        self._asks: Arena | None = None
        self._answers: Arena | None = None
        self._told: dict[str, Callable[[Message], _Fields]] = {
            "open": self._open,
            "probe": self._probe,
            "plan": self._plan,
            "build": self._build,
            "load": self._load,
            "share": self._share,
            "infer": self._infer,
            "memory": self._memory,
            "provenance": self._provenance,
        }

    def serve(self) -> None:
        """Answer one message after the other until the box closes the line."""
        while True:
            try:
                message = self._line.receive(trusted=True)
            except Gone:
                return
            answer = self._answer(message)
            try:
                self._line.send(answer)
            except (TypeError, ValueError, AssertionError):
                sentence = "The engine said something that cannot be passed on."
                self._line.send({"error": "inference.failed", "sentence": sentence})

    def _answer(self, message: Message) -> _Fields:
        try:
            return {"ok": self._told[message.fields["do"]](message)}
        except InferenceError as error:
            return {"error": error.word, "sentence": error.sentence[:_SENTENCE_LENGTH_MAX]}
        except MemoryError:
            return {"error": "inference.memory", "sentence": "The engine ran out of memory."}
        # An engine wraps what it foresees; what it does not must still be an answer and not a dead child.
        except Exception as error:  # noqa: BLE001 - the child's main loop
            print(f"unforeseen {type(error).__name__}", file=sys.stderr, flush=True)
            kind = type(error).__name__
            return {"error": "inference.failed", "sentence": f"The engine met an unforeseen fault ({kind})."}

    @property
    def _opened(self) -> Engine:
        assert self._engine is not None, "open comes first"
        return self._engine

    def _open(self, message: Message) -> _Fields:
        # Behind everything else: where the maker's own package lies, if it is not installed.
        sys.path.append(message.fields["root"])
        maker, settings = pickle.loads(message.body)
        self._engine = maker(settings)
        return {"name": self._opened.name}

    def _probe(self, _message: Message) -> _Fields:
        probe = self._opened.probe()
        return {"ok": probe.ok, "reason": probe.reason}

    def _plan(self, message: Message) -> _Fields:
        plan = self._opened.plan(pickle.loads(message.body))
        return {"key": plan.key, "parts": dict(plan.parts)}

    def _build(self, message: Message) -> _Fields:
        plan: EnginePlan = pickle.loads(message.body)

        def progress(share: float, word: str) -> None:
            self._line.send({"progress": min(max(float(share), 0.0), 1.0), "word": str(word)[:100]})

        report = self._opened.build(plan, folder=Path(message.fields["folder"]), progress=progress)
        return {"files": list(report.files), "details": dict(report.details)}

    def _load(self, message: Message) -> _Fields:
        plan, folder = pickle.loads(message.body)
        self._opened.load(plan, folder=folder)
        return self._provenance(message) | self._memory(message)

    def _share(self, message: Message) -> _Fields:
        """Take new memory for what is asked, for what is answered, or both."""
        for name, fd in zip(message.fields["for"], message.fds, strict=True):
            arena = Arena(fd)
            if name == "asks":
                self._asks, former = arena, self._asks
            else:
                self._answers, former = arena, self._answers
            if former is not None:
                former.close()
        return {}

    def _infer(self, message: Message) -> _Fields:
        assert self._asks is not None, "memory comes before a call"
        batch = {slip["name"]: self._asks.view(slip) for slip in message.fields["asks"]}
        answers = self._opened.infer(batch, deadline_seconds=message.fields["deadline_seconds"])
        arrays = {name: np.asarray(answer) for name, answer in answers.items()}
        needed = bytes_of(list(arrays.values()))
        while self._answers is None or self._answers.size_bytes < needed:
            self._line.send({"need_bytes": needed})
            self._share(self._line.receive(trusted=True))
        try:
            return {"answers": self._answers.put(arrays)}
        except SlipError as error:
            raise InferenceError("inference.failed", f"The answer cannot be passed on: {error}.") from error

    def _memory(self, _message: Message) -> _Fields:
        return {"memory_bytes": self._opened.memory_bytes()}

    def _provenance(self, _message: Message) -> _Fields:
        provenance = self._opened.provenance()
        return {"text": provenance.text, "details": dict(provenance.details)}


def _end_with(life: int) -> None:
    """Let the kernel end this process when the other end of a pipe closes.

    A thread that watches would not do: a library that hangs may hold the interpreter. Nor would the parent's
    death signal, which comes when the thread that started us ends.
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    watch = select.poll()
    watch.register(life, 0)
    if watch.poll(0):
        os._exit(1)


def main(line: int, life: int) -> None:
    """Serve until the box closes the line."""
    _end_with(life)
    # Who stops the box may tell every process of it; the box's own end is what ends this one, after its jobs.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
    Server(Line(socket.socket(fileno=line))).serve()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
