"""The life of one engine for one model: probed, planned, built or found, loaded, judged, active.

Promises: what comes out of here has answered the golden cases on this device as the processor does, and was
loaded from files that this box built and nobody changed; whatever goes wrong before is one InferenceError.
Never: puts an engine in another's place. Whoever asked for it does that, when it is ready.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance.core import log
from appliance.core.clock import SYSTEM
from appliance.inference.build import build_into, build_kept
from appliance.inference.engine import BuildProgress, Engine, EnginePlan, InferenceError
from appliance.inference.gate import GoldenGate, Refused
from appliance.inference.makers import MAKERS, Maker, Makers, craft_of
from appliance.inference.parity import Verdict, verdict_of
from appliance.inference.probe import probe
from appliance.inference.quarantine import Quarantine
from appliance.inference.reference import Reference
from appliance.inference.settings import EngineSettings
from appliance.inference.sidecar import SidecarRefused
from appliance.inference.store import EngineStore, Kept
from appliance.inference.watched import WatchedEngine
from models.package import Package

_log = log.get("inference")
CRASHES, REFERENCES = "crashes", "references"


class NotBuilt(Exception):
    """The engine must be built first, which takes long."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What one package's engines are made from and kept in."""

    package: Package
    settings: EngineSettings
    gate: GoldenGate
    makers: Makers
    progress: BuildProgress | None = None

    def serving(self, name: str, *, may_build: bool = True) -> Engine:
        """Give an engine that may serve.

        Raises:
            NotBuilt: it must be built first and `may_build` is false.
            InferenceError: it cannot serve here; the sentence says why.
        """
        engine, plan = self._planned(name)
        craft = craft_of(name, self.makers)
        try:
            if (quarantine := self._quarantine(craft)) is not None:
                quarantine.check(plan.key)
            if craft is None or not craft.builds:
                return self._as_it_is(engine, plan, craft)
            if self.settings.store is None:
                return self._built_for_now(engine, plan, craft, may_build=may_build)
            return self._from_store(engine, plan, craft, may_build=may_build)
        except BaseException:
            engine.unload()
            raise

    def _planned(self, name: str) -> tuple[Engine, EnginePlan]:
        if name not in self.makers:
            raise InferenceError("inference.no_engine", "is not an engine this version knows.")
        engine = self.makers[name](self.settings)
        hosted = not isinstance(self.makers[name], Maker)
        found = probe(engine, craft_of(name, self.makers), self.settings, hosted=hosted)
        if not found.ok:
            engine.unload()
            raise InferenceError("inference.no_engine", f"{found.reason}.")
        try:
            return engine, engine.plan(self.package)
        except InferenceError:
            engine.unload()
            raise

    def _as_it_is(self, engine: Engine, plan: EnginePlan, craft: Maker | None) -> Engine:
        """Load an engine that needs no files of its own, or one that only the caller knows."""
        with tempfile.TemporaryDirectory(prefix="readside-build-") as name:
            folder = Path(name)
            report = engine.build(plan, folder=folder) if craft is None else None
            made = folder if report is not None and report.files else None
            return self._loaded(engine, plan, folder=made, craft=craft)

    def _built_for_now(self, engine: Engine, plan: EnginePlan, craft: Maker, *, may_build: bool) -> Engine:
        if not may_build:
            raise NotBuilt
        with tempfile.TemporaryDirectory(prefix="readside-build-") as name:
            build_into(
                engine.name, craft, plan, settings=self.settings, folder=Path(name), progress=self.progress
            )
            return self._loaded(engine, plan, folder=Path(name), craft=craft)

    def _from_store(self, engine: Engine, plan: EnginePlan, craft: Maker, *, may_build: bool) -> Engine:
        store = self._store()
        assert store is not None, "asked for only where there is one"
        kept = self._kept(store, plan)
        if kept is None:
            if not may_build:
                raise NotBuilt
            kept = build_kept(
                engine.name, craft, plan, settings=self.settings, store=store, progress=self.progress
            )
        return self._serving_kept(engine, plan, kept, craft=craft, store=store)

    def _kept(self, store: EngineStore, plan: EnginePlan) -> Kept | None:
        """Find what was built before; what must not be loaded is removed and counts as not there."""
        try:
            kept = store.find(plan)
        except SidecarRefused as refusal:
            _log.error("engine.rejected", key=plan.key[:19], reason=str(refusal))
            store.drop(plan.key)
            return None
        if kept is None or not kept.sidecar.failure:
            return kept
        age_seconds = SYSTEM.now() - kept.sidecar.built_at
        if 0 <= age_seconds < self.settings.limits.build_retry_seconds:
            raise InferenceError("inference.build", kept.sidecar.failure)
        return None

    def _serving_kept(
        self, engine: Engine, plan: EnginePlan, kept: Kept, *, craft: Maker, store: EngineStore
    ) -> Engine:
        before = None if kept.sidecar.verdict is None else verdict_of(kept.sidecar.verdict)
        with ExitStack() as held:
            held.enter_context(store.hold(kept))
            ready = self._watched(engine, plan, craft, kept=kept)
            try:
                verdict = self._through(ready, plan, folder=kept.folder, before=before)
            except Refused as refusal:
                self._note(store, kept, refusal.verdict, before)
                raise
            self._note(store, kept, verdict, before)
            if isinstance(ready, WatchedEngine):
                ready.keep_until_unloaded(held.pop_all())
        return ready

    def _note(self, store: EngineStore, kept: Kept, verdict: Verdict, before: Verdict | None) -> None:
        """Write a verdict down; where that fails, the next start asks again."""
        if verdict == before:
            return
        try:
            store.judge(kept, verdict.as_json())
        except InferenceError as error:
            _log.error("engine.verdict_not_kept", key=kept.sidecar.key[:19], reason=error.sentence)

    def _loaded(
        self, engine: Engine, plan: EnginePlan, *, folder: Path | None, craft: Maker | None
    ) -> Engine:
        ready = self._watched(engine, plan, craft)
        self._through(ready, plan, folder=folder)
        return ready

    def _through(
        self, ready: Engine, plan: EnginePlan, *, folder: Path | None, before: Verdict | None = None
    ) -> Verdict:
        """Load and judge; what does not come through is unloaded."""
        try:
            ready.load(plan, folder=folder)
            verdict = self._judged(ready, plan, before)
            if isinstance(ready, WatchedEngine):
                ready.settled()
        except BaseException:
            ready.unload()
            raise
        _log.info("engine.active", **self._said(ready, plan))
        return verdict

    def _quarantine(self, craft: Maker | None) -> Quarantine | None:
        """Give the record of crashes, but for the processor's engine, the last resort, and remote ones."""
        if craft is None or not craft.local or self.settings.store is None:
            return None
        return Quarantine(root=self.settings.store / CRASHES, limits=self.settings.limits)

    def _watched(
        self, engine: Engine, plan: EnginePlan, craft: Maker | None, *, kept: Kept | None = None
    ) -> Engine:
        quarantine = self._quarantine(craft)
        if quarantine is None:
            return engine
        hosted = not isinstance(self.makers[engine.name], Maker)
        recheck = partial(self._recheck, plan, kept) if kept is not None and hosted else None
        return WatchedEngine(engine, plan, quarantine, hosted=hosted, recheck=recheck)

    def _recheck(self, plan: EnginePlan, kept: Kept) -> None:
        store = self._store()
        try:
            found = None if store is None else store.find(plan)
        except SidecarRefused as refusal:
            _log.error("engine.rejected", key=plan.key[:19], reason=str(refusal))
            raise InferenceError("inference.load", str(refusal)) from refusal
        if found is None or found.sidecar.files != kept.sidecar.files:
            raise InferenceError("inference.load", "The built engine is no longer the one that was judged.")

    def _judged(self, engine: Engine, plan: EnginePlan, before: Verdict | None) -> Verdict:
        reference = None if engine.name == "cpu" else self._reference()
        try:
            verdict = self.gate.admit(self.package, engine, key=plan.key, reference=reference, before=before)
        except InferenceError as error:
            _log.error("engine.rejected", **self._said(engine, plan), reason=error.sentence)
            raise
        _log.info("engine.verified", **self._said(engine, plan), seconds=verdict.seconds)
        return verdict

    def _reference(self) -> Reference:
        store = self._store()
        secret = None if store is None else store.secret()
        return Reference(
            self.package,
            lambda: self.makers.get("cpu", MAKERS["cpu"])(self.settings),
            limits=self.settings.limits,
            folder=None if store is None or secret is None else store.root / REFERENCES,
            secret=secret or b"",
        )

    def _store(self) -> EngineStore | None:
        if self.settings.store is None:
            return None
        return EngineStore(root=self.settings.store, limits=self.settings.limits)

    def _said(self, engine: Engine, plan: EnginePlan) -> dict[str, str]:
        return {"engine": engine.name, "model": self.package.manifest.name, "key": plan.key[:19]}
