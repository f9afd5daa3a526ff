"""Our listener with header scan, keeping nothing: scripts/bench-ingest measures with it what the wire costs.

usage: .venv/bin/python -m scripts.bench_ingest_null PORT CALLING_AE
"""

from __future__ import annotations

import mmap
import signal
import sys
import threading

import structlog

from dicom_node.intake import Arrival
from dicom_node.limits import MIB, Limits
from dicom_node.listener import Listener
from dicom_node.values import Peer

_BYTES_MAX = 256 * MIB


class _Nothing:
    """One buffer for each thread, filled again and again."""

    _own = threading.local()

    def __init__(self) -> None:
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(mmap.mmap(-1, _BYTES_MAX))
        self._buffer: memoryview = self._own.buffer
        self._length = 0

    def room(self) -> memoryview:
        return self._buffer[self._length :]

    def filled(self, count: int) -> None:
        self._length += count

    def whole(self) -> memoryview:
        return self._buffer[: self._length].toreadonly()

    def keep(self, arrival: Arrival) -> None:
        pass

    def abandon(self) -> None:
        pass


class _Intake:
    def begin(self) -> _Nothing:
        return _Nothing()


def main() -> None:
    """Listen until told to stop."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    port, calling_ae = int(sys.argv[1]), sys.argv[2]
    peer = Peer(name="bench", ae_title=calling_ae, host="127.0.0.1", port=0, may=frozenset({"store"}))
    listener = Listener(
        ae_title="RECEIVER", host="127.0.0.1", port=port, peers=[peer], intake=_Intake(), limits=Limits()
    )
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    listener.start()
    stopping.wait()
    listener.stop()


if __name__ == "__main__":
    main()
