"""Find the TensorRT that is installed: full or RTX, as a metapackage or as bindings alone.

Promises: it is looked at in a child process first; one that ends its process, lacks a name or does not import
is a reason and never a crash. Never: loads it into this process before that.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings")
_SURFACE = Path(__file__).with_name("surface.py")
_found: dict[tuple[str, ...], Library] = {}


class NotUsable(Exception):
    """No TensorRT can be used; the text says why, as half a sentence."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """An installed TensorRT.

    Attributes:
        capabilities: compute capabilities it builds for without a device ("SM89"); none: it needs a device.
    """

    module: str
    version: str
    capabilities: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Write it for people."""
        return f"{'TensorRT-RTX' if self.capabilities else 'TensorRT'} {self.version}"

    def open(self) -> Any:
        """Import it into this process."""
        return importlib.import_module(self.module)


def find(modules: tuple[str, ...] = MODULES, *, seconds_max: float) -> Library:
    """Give the first of the modules that can be used. What was found once is not looked for again.

    Raises:
        NotUsable: none is installed, or none of them works.
    """
    if modules in _found:
        return _found[modules]
    reasons = []
    for module in modules:
        if importlib.util.find_spec(module) is None:
            continue
        try:
            _found[modules] = _describe(module, seconds_max)
        except NotUsable as error:
            reasons.append(str(error))
            continue
        return _found[modules]
    raise NotUsable("; ".join(reasons) or "TensorRT is not installed (extra: tensorrt or tensorrt-rtx)")


def _describe(module: str, seconds_max: float) -> Library:
    command = [sys.executable, "-P", str(_SURFACE), module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotUsable(f"{module} did not load within {seconds_max:.0f} seconds") from error
    if done.returncode < 0:
        raise NotUsable(f"{module} ended the process that loaded it (signal {-done.returncode})")
    if done.returncode != 0:
        raise NotUsable(f"{module} cannot be loaded ({_cause(done.stderr)})")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["missing"]:
        raise NotUsable(f"{module} {told['version']} lacks {', '.join(told['missing'])}")
    return Library(module=module, version=told["version"], capabilities=tuple(told["capabilities"]))


def _cause(stderr: str) -> str:
    """Give the kind of the error a program ended with, without what it says of this machine's files."""
    last = (stderr.strip().splitlines() or ["no reason given"])[-1]
    return last.partition(":")[0][:100]
