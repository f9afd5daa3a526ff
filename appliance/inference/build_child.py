"""The process that builds an engine or asks a device's library: one task on fd 0, JSON lines on fd 1.

Builders are large, run code made for the network they are given, and crash, hang and eat memory. So they run
here, at low priority, first in line when memory runs out, with no core file and no secret of the parent's;
whatever happens to this process is one sentence about an engine that does not serve.
What a library prints never reaches the line: fd 1 is kept for answers, and the library gets fd 2 instead.
It ends with its parent. Never: holds an image, a key or the configuration.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.core import log
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.makers import class_of
from appliance.inference.settings import EngineSettings
from models.manifest import ManifestError
from models.package import PackageError, open_package

_NICE = 10
_FIRST_TO_GO = "1000"  # of the kernel's choice when memory runs out, -1000 to 1000
_PR_SET_PDEATHSIG = 1

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Do the one task and say how it ended."""
    say = _line_of_our_own()
    task = json.loads(sys.stdin.readline())
    _confine(int(task["parent"]))
    try:
        say({"done": _TASKS[task["do"]](task, say)})
    except InferenceError as error:
        say({"error": error.sentence})
    except ModuleNotFoundError:
        say({"error": "is not installed here."})
    # The main loop of a process whose end must be told: the text of an unknown error may quote paths.
    except Exception as error:  # noqa: BLE001
        say({"error": f"An error nobody foresaw: {type(error).__name__} at {log.where(error)[-1]}."})


def _line_of_our_own() -> Say:
    kept = os.dup(1)
    os.dup2(2, 1)
    stream = os.fdopen(kept, "w", encoding="utf-8")

    def say(message: Mapping[str, Any]) -> None:
        stream.write(f"{json.dumps(message)}\n")
        stream.flush()

    return say


def _confine(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the line above
        os._exit(1)
    os.umask(0o077)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")


def _engine(task: Mapping[str, Any]) -> Engine:
    given = task["settings"]
    settings = EngineSettings(
        limits=InferenceLimits(**given["limits"]),
        device=given["device"],
        memory_bytes_max=given["memory_bytes_max"],
    )
    return class_of(task["engine"])(settings)


def _probe(task: Mapping[str, Any], _: Say) -> dict[str, Any]:
    probe = _engine(task).probe()
    return {"ok": probe.ok, "reason": probe.reason}


def _build(task: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Build what the parent planned, and nothing else: the package and the device are looked at again."""
    engine = _engine(task)
    try:
        package = open_package(Path(task["package"]))
    except (PackageError, ManifestError) as error:
        raise InferenceError("inference.build", "The package could not be opened to build it.") from error
    plan = engine.plan(package)
    if plan.key != task["key"]:
        raise InferenceError("inference.build", "The package or the device changed before the build began.")
    report = engine.build(
        plan,
        folder=Path(task["folder"]),
        progress=lambda share, stage: say({"share": float(share), "stage": stage[:80]}),
    )
    return {"files": list(report.files), "details": dict(report.details)}


_TASKS: Mapping[str, Callable[[Mapping[str, Any], Say], dict[str, Any]]] = {"probe": _probe, "build": _build}


if __name__ == "__main__":
    main()
