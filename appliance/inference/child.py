"""The box's side of a serving child: start it, ask it one thing at a time, end it, say how it ended.

Every wait has a bound. A child that misses one is killed, by its process id and while nobody else has waited
for it, and never asked again. What vendors' libraries print is counted and told in few bounded lines.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from appliance.core import log
from appliance.inference.engine import InferenceError
from appliance.inference.environment import handed_on
from appliance.inference.limits import InferenceLimits
from appliance.inference.line import Gone, Line, WireError

_log = log.get("inference")
_READ_BYTES = 65536
_WORD = re.compile(r"inference\.[a-z_]{1,40}")
_SENTENCE_LENGTH_MAX = 2_000
# A library may print the path of whatever it reads; a word that looks like one is not told.
_PATHLIKE = re.compile(r"\S*(?:/\S*/|\\)\S*|(?<!\w)/\S+")
# What libraries need to find themselves and their devices; no secret of the parent's reaches a child.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME")
_ENVIRONMENT_PREFIXES = ("CUDA_", "NVIDIA_", "ORT_", "OPENVINO_")

Fields = Mapping[str, Any]


class ServingChild:
    """One serving process, started when made and ready when it answers its first question.

    Attributes:
        label: what the log calls it: the engine's name.
    """

    def __init__(self, label: str, limits: InferenceLimits) -> None:
        self.label, self._limits = label, limits
        ours, theirs = socket.socketpair()
        self._life_read, self._life = os.pipe()
        output, told = os.pipe()
        try:
            self._process = _start(theirs.fileno(), self._life_read, told, threads=limits.threads_max)
        except BaseException:
            ours.close()
            os.close(self._life)
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(self._life_read)
            os.close(told)
        self._line = Line(ours)
        self._ended: str | None = None
        # However the box lets go of it, the process does not stay behind.
        self._finalizer = weakref.finalize(self, _end, os.getpid(), self._process, ours, self._life)
        _Listener(output, label, self._process.pid, limits).start()

    @property
    def pid(self) -> int:
        """Give the process id."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Say whether it still runs and may be asked."""
        return self._ended is None and self._process.poll() is None

    def ask(
        self,
        fields: Fields,
        *,
        until: float,
        body: bytes = b"",
        fds: Sequence[int] = (),
        heard: Callable[[Fields], None] | None = None,
    ) -> Any:
        """Ask one question and return its answer; what comes before that goes to `heard`.

        `until` is a moment of `time.monotonic`; a child that is later is killed.

        Raises:
            InferenceError: what the child says; inference.deadline; inference.crashed, it ended by itself.
        """
        try:
            self.tell(fields, until=until, body=body, fds=fds)
            while True:
                answer = self._line.receive(seconds=max(until - time.monotonic(), 0.001)).fields
                if isinstance(answer.get("ok"), dict):
                    return answer["ok"]
                if "error" in answer:
                    raise _said(answer)
                if heard is None or "ok" in answer:
                    raise WireError("not an answer")
                heard(answer)
        except (TimeoutError, WireError) as error:
            self._fail(error)

    def tell(self, fields: Fields, *, until: float, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message without waiting for what it brings about; errors are those of the line."""
        self._line.send(fields, body=body, fds=fds, seconds=max(until - time.monotonic(), 0.001))

    def kill(self) -> None:
        """End the process under a call that is under way, which then says so; `close` is still to come."""
        self._process.kill()

    def close(self) -> None:
        """End the process; all it held is given back by the kernel."""
        self._finalizer()
        self._ended = self._ended or "it was ended"

    def _fail(self, error: Exception) -> NoReturn:
        """Kill the child and say what became of it."""
        if isinstance(error, TimeoutError):
            self.close()
            _log.error("engine.killed", engine=self.label, pid=self.pid, reason="deadline")
            raise InferenceError(
                "inference.deadline", "The engine did not answer in time, and its process was ended."
            ) from error
        how = self._ending() if isinstance(error, Gone) else "it said something that is no answer"
        self.close()
        _log.error("engine.crashed", engine=self.label, pid=self.pid, how=how)
        raise InferenceError(
            "inference.crashed", f"The engine's process ended by itself ({how}); it is started again."
        ) from error

    def _ending(self) -> str:
        try:
            code = self._process.wait(timeout=self._limits.serving_end_seconds_max)
        except subprocess.TimeoutExpired:
            return "it closed its line"
        if code >= 0:
            return f"exit code {code}"
        known = -code in set(signal.Signals)
        name = signal.Signals(-code).name if known else f"signal {-code}"
        return f"{name}, perhaps for want of memory" if -code == signal.SIGKILL else name


def _start(line: int, life: int, told: int, *, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-m", "appliance.inference.serving_child", str(line), str(life)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=told,
        env=_environment(threads),
        cwd="/",
        pass_fds=(line, life),
        start_new_session=True,
    )


def _environment(threads: int) -> dict[str, str]:
    """Say what a child may know, and that no library of it spins or starts threads of its own choosing."""
    cores = threads or len(os.sched_getaffinity(0))
    return handed_on(_ENVIRONMENT, _ENVIRONMENT_PREFIXES) | {
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": str(cores),
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": str(cores),
    }


def _end(owner: int, process: subprocess.Popen[bytes], line: socket.socket, life: int) -> None:
    if os.getpid() != owner:  # a copy of the box's process that was forked and ends owns no child
        return
    line.close()
    with suppress(OSError):
        os.close(life)
    process.kill()
    process.wait()


def _said(answer: Fields) -> InferenceError:
    """Read a child's refusal; a word that is none becomes the plainest one."""
    word, sentence = str(answer["error"]), str(answer.get("sentence", ""))
    if not _WORD.fullmatch(word):
        word = "inference.failed"
    return InferenceError(word, _PATHLIKE.sub("(path)", sentence[:_SENTENCE_LENGTH_MAX]))


class _Listener(threading.Thread):
    """Reads what a child prints until it ends: a few lines are told, all are counted."""

    def __init__(self, output: int, label: str, pid: int, limits: InferenceLimits) -> None:
        super().__init__(name=f"output-{pid}", daemon=True)
        self._output, self._label, self._pid, self._limits = output, label, pid, limits
        self._lines = self._bytes = 0

    def run(self) -> None:
        """Read to the end, and say how much there was."""
        rest = b""
        with os.fdopen(self._output, "rb", buffering=0) as output:
            while chunk := output.read(_READ_BYTES):
                self._bytes += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._tell(line)
                # A line without an end must not fill the memory.
                rest = rest[: self._limits.output_line_length_max]
        if self._bytes:
            _log.info(
                "engine.output", engine=self._label, pid=self._pid, lines=self._lines, bytes=self._bytes
            )

    def _tell(self, line: bytes) -> None:
        self._lines += 1
        if self._lines <= self._limits.output_lines_max:
            text = line[: self._limits.output_line_length_max].decode("utf-8", "replace")
            _log.info("engine.said", engine=self._label, pid=self._pid, text=_PATHLIKE.sub("(path)", text))
