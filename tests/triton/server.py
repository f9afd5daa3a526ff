"""A genuine Triton server on loopback, out of a wheel, for as long as a test session lasts.

Its models are Python that calls ONNX Runtime, as the wheel holds no other backend; protocol, scheduler and
repository are the real ones.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from appliance.demo.box import free_ports
from tests.system.waiting import until
from tests.wheels import unpacked

WHEEL = "nvidia-pytriton==0.7.0"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 30.0


class Triton:
    """One server with a model repository of its own, which tests fill; models load when asked for."""

    def __init__(self, folder: Path) -> None:
        self._wheel = unpacked(WHEEL)
        self.repository, self.log_path = folder / "models", folder / "triton.log"
        self._backends = folder / "backends"
        self.repository.mkdir(parents=True)
        self.http_port, self.grpc_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self._lay_out_backend()

    @property
    def urls(self) -> dict[str, str]:
        """Return the server's addresses as a configuration writes them."""
        return {
            "http": f"http://127.0.0.1:{self.http_port}",
            "grpc": f"grpc://127.0.0.1:{self.grpc_port}",
        }

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"LD_LIBRARY_PATH": str(self._wheel / "nvidia_pytriton.libs")},
            )
        until(self._answers, seconds=_START_SECONDS_MAX, what="the Triton server answers")

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it take connections and answer none."""
        assert self._process is not None, "only a server that was started can be paused"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        assert self._process is not None, "only a server that was started can be resumed"
        self._process.send_signal(signal.SIGCONT)

    def unload(self, model: str) -> None:
        """Take a model off the server, as whoever runs it may."""
        url = f"{self.urls['http']}/v2/repository/models/{model}/unload"
        with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=20) as answer:
            assert answer.status == 200

    def calls(self, model: str) -> int:
        """Return how many calls of a model were answered or are under way, as the server counts them."""
        with urllib.request.urlopen(f"{self.urls['http']}/v2/models/{model}/stats", timeout=20) as answer:
            (stats,) = json.load(answer)["model_stats"]
        return int(stats["inference_stats"]["success"]["count"])

    @property
    def running(self) -> bool:
        """Say whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS_MAX)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = self.log_path.read_text(encoding="utf-8", errors="replace")
            pytest.fail(f"the Triton server ended by itself: {said[-2000:]}")
        try:
            with urllib.request.urlopen(f"{self.urls['http']}/v2/health/live", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _command(self) -> list[str]:
        return [
            str(self._wheel / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
            *("--model-repository", str(self.repository), "--model-control-mode", "explicit"),
            *("--backend-directory", str(self._backends), "--exit-timeout-secs", "5"),
            *("--http-address", "127.0.0.1", "--http-port", str(self.http_port)),
            *("--grpc-address", "127.0.0.1", "--grpc-port", str(self.grpc_port)),
            *("--allow-metrics", "false"),
        ]

    def _lay_out_backend(self) -> None:
        """Put the Python backend and its program for this Python side by side, as the server wants."""
        root, folder = self._wheel / "pytriton" / "tritonserver", self._backends / "python"
        folder.mkdir(parents=True)
        stub = root / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
        for path in [*(root / "backends" / "python").iterdir(), stub]:
            (folder / path.name).symlink_to(path)


def obstacle() -> str | None:
    """Say why the server cannot run here; none when it can."""
    if ctypes.util.find_library(f"python{_PYTHON}") is None:
        return f"Triton's Python backend needs the system's libpython{_PYTHON}.so.1.0 (libpython{_PYTHON})"
    stubs = unpacked(WHEEL) / "pytriton" / "tritonserver" / "python_backend_stubs"
    if not (stubs / _PYTHON).is_dir():
        return f"the wheel's Triton server has no program for Python {_PYTHON}"
    return None
