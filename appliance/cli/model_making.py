"""Write a package out of a network and a manifest: files, golden cases, and a last look at the whole."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from appliance.cli.model_faults import faults_of
from appliance.cli.terms import BAD_USE, fail
from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from models import golden
from models.analysis import AnswerError, NotAccepted, analyse
from models.importing.card import CARD, card
from models.importing.draft import Draft
from models.importing.graph import Graph
from models.importing.synthetic import NoSynthetic, synthetic_volume
from models.manifest import Manifest
from models.operations.patches import Infer
from models.package import GOLDEN, MANIFEST, Package

CASES = 2
RECORDING = (InferenceError, NotAccepted, AnswerError, NoSynthetic, ValueError)
"""What can go wrong while golden cases are recorded."""
_MIB, _STEP_MIB = 1 << 20, 64


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was written, and what a check says of it."""

    folder: Path
    faults: tuple[str, ...]
    hints: tuple[str, ...] = ()


def make(
    folder: Path,
    draft: Draft,
    *,
    manifest: Manifest,
    text: str,
    texts: Mapping[str, str],
    facts: Mapping[str, str],
    modality: str,
) -> Made:
    """Write manifest, network, card, `texts` and golden cases, then check the whole."""
    empty_folder(folder)
    (folder / manifest.network).write_bytes(draft.graph.written())
    written = card(manifest, origin=draft.origin, derived=draft.derived, facts=facts)
    for name, content in {MANIFEST: text, CARD: written, **texts}.items():
        (folder / name).write_text(content, encoding="utf-8")
    try:
        memory_mib = record(folder, manifest, draft.graph, modality=modality)
    except RECORDING as error:
        return Made(folder=folder, faults=(f"no golden case: {reason_of(error)}",))
    if memory_mib > manifest.resources.memory_mib:
        old, new = (f"memory_mib = {value}\n" for value in (manifest.resources.memory_mib, memory_mib))
        (folder / MANIFEST).write_text(text.replace(old, new), encoding="utf-8")
    found = faults_of(folder)
    return Made(folder=folder, faults=found.faults, hints=found.hints)


def reason_of(error: Exception) -> str:
    """Say why no case was recorded."""
    return error.sentence if isinstance(error, InferenceError) else str(error)


def empty_folder(folder: Path) -> Path:
    """Make the folder a package is written to, or end: an existing one may be somebody's work."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fail(f"{folder} is there already and not empty; name a new folder", code=BAD_USE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def record(folder: Path, manifest: Manifest, graph: Graph, *, modality: str) -> int:
    """Run synthetic series through the network on the CPU and keep input and answer as golden cases.

    Returns the memory in MiB that was needed beside the series, rounded up.

    Raises:
        InferenceError: the network cannot be loaded, or failed.
        NotAccepted, AnswerError, NoSynthetic: the manifest does not describe this network.
    """
    package = Package(root=folder, manifest=manifest, digest="sha256:not-yet-a-package")
    fixed = [graph.inputs[0].fixed(axis) for axis in range(2, graph.inputs[0].rank or 0)]
    engine = OnnxRuntimeCpu(InferenceLimits())
    before = _peak_bytes()
    try:
        engine.load(engine.plan(package))
        infer = _until(engine, InferenceLimits().golden_seconds_max)
        for number in range(1, CASES + 1):
            volume = synthetic_volume(manifest, number=number, modality=modality, fixed=fixed)
            findings = analyse(package, volume, infer)
            golden.record(folder / GOLDEN / f"synthetic-{number}.npz", volume, findings)
    finally:
        engine.unload()
    return -(-(_peak_bytes() - before) // (_STEP_MIB * _MIB)) * _STEP_MIB


def _until(engine: OnnxRuntimeCpu, seconds: float) -> Infer:
    until = time.monotonic() + seconds

    def infer(batch: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        return engine.infer(batch, deadline_seconds=until - time.monotonic())

    return infer


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
