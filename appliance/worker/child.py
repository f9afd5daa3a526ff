"""The parent's side of a decoder child: start it, hand it one compressed image, take frames, end it.

Every wait has a deadline; a child that misses one is killed and never used again.
What comes back is checked against what was asked before memory is taken for it.
"""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from appliance.worker.faults import DecodeError
from appliance.worker.frames import Cells
from appliance.worker.limits import DecodeLimits
from appliance.worker.pixels import PixelFormat, shape_error
from appliance.worker.wire import SOCKET_BUFFER_BYTES, Gone, Line, Message, WireError

# No secret of the parent's reaches it; one thread each, as there are several children.
_ENVIRONMENT = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_DTYPES = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4"})
_SENTENCES = {
    "decode.memory": "Decoding an image needs more memory than is allowed.",
    "decode.stream": "The compressed pixels of an image are damaged.",
    "decode.shape": "The compressed frames of an image are not those its header describes.",
    "decode.unsupported": "The compression of the images is not read by this version.",
}


class ChildDied(DecodeError):
    """The decoder process ended while it worked; another may be tried."""

    def __init__(self, how: str) -> None:
        super().__init__("decode.child_died", f"The decoder ended by itself while it read an image ({how}).")


class DecoderChild:
    """One decoder process, ready when made.

    Raises:
        DecodeError: decode.deadline or decode.child_died, it did not come up.
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self.instances = 0
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            self._process = subprocess.Popen(
                self._command(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        self._line = Line(ours)
        self._receive(lambda _: 0, until=time.monotonic() + limits.start_seconds_max)

    @property
    def pid(self) -> int:
        """Give the process id."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Say whether the process still runs and may be used again."""
        return self._process.poll() is None and self._line.end.fileno() >= 0

    def frames(self, transfer_syntax_uid: str, pixels: PixelFormat, stream: bytes) -> Iterator[Cells]:
        """Decode an encapsulated Pixel Data value (PS3.5 A.4), first frame to last.

        Each is (rows, columns), and the samples behind where there are several.
        A caller that stops early must `close` the child.

        Raises:
            DecodeError: any of its words; a child that said so itself lives on.
        """
        self.instances += 1
        seconds = self._limits.frame_seconds_max
        until = time.monotonic() + seconds
        try:
            self._line.send(_request(transfer_syntax_uid, pixels, seconds), stream, seconds=seconds)
        except (TimeoutError, Gone) as error:
            self._fail(error)
        for _ in range(pixels.frames):
            answer = self._receive(lambda fields: _body_bytes(fields, pixels), until=until)
            yield np.frombuffer(answer.body, answer.fields["dtype"]).reshape(pixels.shape)
            until = time.monotonic() + seconds

    def close(self) -> None:
        """End the process; nothing of it is worth waiting for."""
        self._line.end.close()
        self._process.kill()
        self._process.wait()

    def _command(self) -> list[str]:
        bounds = (
            self._limits.child_memory_bytes_max,
            self._limits.child_files_max,
            self._limits.stream_bytes_max,
        )
        return [sys.executable, "-I", "-m", "appliance.worker.decoder_child", *map(str, bounds)]

    def _receive(self, allowed: Any, *, until: float) -> Message:
        try:
            answer = self._line.receive(allowed, seconds=max(until - time.monotonic(), 0.001))
        except (TimeoutError, WireError) as error:
            self._fail(error)
        word = answer.fields.get("error")
        if word in _SENTENCES:
            raise DecodeError(word, _SENTENCES[word])
        return answer

    def _fail(self, error: Exception) -> NoReturn:
        """Kill the child and say what became of it."""
        if isinstance(error, TimeoutError):
            self.close()
            raise DecodeError("decode.deadline", _late(self._limits)) from error
        if not isinstance(error, Gone):
            self.close()
            raise shape_error("the decoder gave something else than it says") from error
        how = self._ending()
        self.close()
        if how == signal.SIGXCPU.name:
            raise DecodeError("decode.deadline", _late(self._limits)) from error
        raise ChildDied(how) from error

    def _ending(self) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "it closed its line"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _late(limits: DecodeLimits) -> str:
    return f"An image was not decoded within {limits.frame_seconds_max:g} seconds."


def _request(transfer_syntax_uid: str, pixels: PixelFormat, seconds: float) -> dict[str, Any]:
    return {
        "transfer_syntax_uid": transfer_syntax_uid,
        "rows": pixels.rows,
        "columns": pixels.columns,
        "number_of_frames": pixels.frames,
        "samples_per_pixel": pixels.samples,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": int(pixels.signed),
        "photometric_interpretation": pixels.photometric,
        "planar_configuration": pixels.planar,
        "seconds": seconds * pixels.frames,
    }


def _body_bytes(fields: Mapping[str, Any], pixels: PixelFormat) -> int:
    """Say how long an answer's body must be; an answer of another shape or type may have none."""
    if "error" in fields:
        return 0
    if fields.get("shape") != list(pixels.shape) or fields.get("dtype") not in _DTYPES:
        raise WireError("another shape than asked for")
    return math.prod(pixels.shape) * int(np.dtype(fields["dtype"]).itemsize)
