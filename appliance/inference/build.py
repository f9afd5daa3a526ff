"""Build an engine in a child process and take what it made, checked, into the store or a folder.

Promises: a build that hangs, crashes or takes too much ends in one sentence, and this process goes on; what
is kept was reported by the builder, and is written into a sealed sidecar as it really is.
Never: loads what was built.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appliance.core import log
from appliance.core.clock import SYSTEM
from appliance.disk.durable import DiskFault, NoSpace, make_folder
from appliance.inference.apart import Bounds, EndedApart, run_apart, settings_apart
from appliance.inference.engine import BuildProgress, BuildReport, EnginePlan, InferenceError
from appliance.inference.makers import Maker
from appliance.inference.settings import EngineSettings
from appliance.inference.sidecar import Sidecar, SidecarRefused
from appliance.inference.store import SIDECAR, EngineStore, Kept

_log = log.get("inference")


def build_kept(
    name: str,
    craft: Maker,
    plan: EnginePlan,
    *,
    settings: EngineSettings,
    store: EngineStore,
    progress: BuildProgress | None = None,
) -> Kept:
    """Build an engine and keep it under its key; that it could not be built is kept as well.

    Raises:
        InferenceError: inference.build.
    """
    with store.building() as folder:
        # Another process may have built it while this one waited.
        if (kept := _found(store, plan)) is not None:
            return kept
        try:
            report = build_into(name, craft, plan, settings=settings, folder=folder, progress=progress)
        except InferenceError as error:
            failed = replace(_sidecar(name, plan, BuildReport()), failure=error.sentence)
            # What counts is why it failed, and not that this cannot be written down.
            with suppress(InferenceError, OSError, DiskFault, NoSpace):
                shutil.rmtree(folder)
                store.keep(make_folder(folder), failed)
            raise
        return store.keep(folder, _sidecar(name, plan, report))


def _found(store: EngineStore, plan: EnginePlan) -> Kept | None:
    try:
        kept = store.find(plan)
    except SidecarRefused:
        return None
    return None if kept is None or kept.sidecar.failure else kept


def _sidecar(name: str, plan: EnginePlan, report: BuildReport) -> Sidecar:
    manifest = plan.package.manifest
    return Sidecar(
        engine=name,
        model=f"{manifest.name} {manifest.version}",
        package=plan.package.digest,
        key=plan.key,
        parts=dict(plan.parts),
        files={},
        details=dict(report.details),
        built_at=SYSTEM.now(),
        product=version("readside"),
    )


def build_into(
    name: str,
    craft: Maker,
    plan: EnginePlan,
    *,
    settings: EngineSettings,
    folder: Path,
    progress: BuildProgress | None = None,
) -> BuildReport:
    """Build an engine into an empty folder, in a child process.

    Raises:
        InferenceError: inference.build; the sentence says what became of the build.
    """
    said = {"engine": name, "model": plan.package.manifest.name, "key": plan.key[:19]}
    _log.info("engine.building", **said)
    began = time.monotonic()
    try:
        answer = run_apart(
            _task(craft, plan, settings, folder), _bounds(settings, folder), _told(said, progress)
        )
        report = _report(folder, answer)
    except EndedApart as error:
        _log.error("engine.build_failed", **said, reason=str(error))
        raise InferenceError("inference.build", f"The engine could not be built. {error}") from error
    _log.info("engine.built", **said, seconds=round(time.monotonic() - began, 1), files=len(report.files))
    return report


def _task(craft: Maker, plan: EnginePlan, settings: EngineSettings, folder: Path) -> dict[str, object]:
    return {
        "do": "build",
        "engine": craft.reference,
        "settings": settings_apart(settings),
        "package": str(plan.package.root.absolute()),
        "key": plan.key,
        "folder": str(folder.absolute()),
    }


def _bounds(settings: EngineSettings, folder: Path) -> Bounds:
    limits = settings.limits
    return Bounds(
        seconds_max=limits.build_seconds_max,
        memory_bytes_max=limits.build_memory_bytes_max,
        folder=folder,
        folder_bytes_max=limits.build_folder_bytes_max,
    )


def _told(said: dict[str, str], progress: BuildProgress | None) -> BuildProgress:
    """Log each new stage once, and hand every step on."""
    stages: set[str] = set()

    def told(share: float, stage: str) -> None:
        if stage not in stages:
            stages.add(stage)
            _log.info("engine.building", **said, stage=stage, share=round(share, 2))
        if progress is not None:
            progress(share, stage)

    return told


def _report(folder: Path, answer: Mapping[str, Any]) -> BuildReport:
    """Hold the builder to what it reported: plain files in the folder, all of them and no others."""
    files, details = answer.get("files"), answer.get("details")
    if not isinstance(files, list) or not isinstance(details, dict):
        raise EndedApart("It said something that is not an answer.")
    present = {path.name: path for path in folder.iterdir()}
    if SIDECAR in present or not files:
        raise EndedApart("It left no file it may keep.")
    if sorted(map(str, files)) != sorted(present):
        raise EndedApart("It left other files than it reported.")
    if any(path.is_symlink() or not path.is_file() for path in present.values()):
        raise EndedApart("It left something that is not a plain file.")
    return BuildReport(files=tuple(present), details=details)
