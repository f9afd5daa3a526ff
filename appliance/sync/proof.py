"""Prove a package on this device: its golden cases, on an engine that the site may use.

Promises: what comes out is evidence that a person can read later, of what passed and of what did not.
Never: leaves an engine loaded; the worker opens its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.core.config import Config
from appliance.inference.choose import open_engine
from appliance.inference.engine import BuildProgress, Engine, InferenceError
from appliance.inference.gate import GoldenGate, Refused
from appliance.inference.makers import MAKERS
from appliance.inference.memory import largest_bytes
from appliance.inference.parity import Verdict
from appliance.inference.process import REMOTE, hosted
from appliance.inference.reference import Reference
from appliance.inference.settings import settings_of
from appliance.sync.limits import DEFAULT
from models.package import Package

_MIB = 1 << 20
_STAGE = "golden cases"
Evidence = dict[str, Any]


class Unproved(Exception):
    """The package may not serve here; the evidence says what was seen."""

    def __init__(self, sentence: str, evidence: Evidence) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.sentence, self.evidence = sentence, evidence


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Which engine passed, why no better one did, and what was seen."""

    engine: str
    stepped_down: str | None
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class _Witness(GoldenGate):
    """A gate that says when it is asked and remembers every verdict."""

    asked: Callable[[], None]
    seen: list[Evidence] = field(default_factory=list)

    def admit(
        self,
        package: Package,
        engine: Engine,
        *,
        key: str | None = None,
        reference: Reference | None = None,
        before: Verdict | None = None,
    ) -> Verdict:
        self.asked()
        try:
            verdict = super().admit(package, engine, key=key, reference=reference, before=before)
        except Refused as refused:
            self._note(engine, refused.verdict)
            raise
        self._note(engine, verdict)
        return verdict

    def _note(self, engine: Engine, verdict: Verdict) -> None:
        most = DEFAULT.differences_max
        cases = tuple(replace(case, differences=case.differences[:most]) for case in verdict.cases)
        self.seen.append({"engine": engine.name, **replace(verdict, cases=cases).as_json()})


def prove(
    package: Package,
    config: Config,
    engines: Sequence[str],
    *,
    asked: Callable[[], None] = lambda: None,
    progress: BuildProgress | None = None,
) -> Proof:
    """Open a package on the first of these engines that passes, each in a process of its own.

    `asked` is called when an engine is built and its golden cases come next.

    Raises:
        Unproved: it needs more memory than the site allows, or no engine passes.
    """
    fault = memory_fault(package, config)
    if fault is not None:
        raise Unproved(fault, {"faults": [fault]})
    settings = settings_of(config)

    def told() -> None:
        if progress is not None:
            progress(1.0, _STAGE)
        asked()

    gate = _Witness(limits=settings.limits, asked=told)
    try:
        engine, stepped_down = open_engine(
            package, engines, settings=settings, gate=gate, makers=hosted(MAKERS), progress=progress
        )
    except InferenceError as error:
        seen: Evidence = {"word": error.word, "faults": [error.sentence], "golden": gate.seen}
        raise Unproved(error.sentence, seen) from error
    made = engine.provenance()
    engine.unload()
    evidence: Evidence = {"engine": made.text, "details": dict(made.details), "stepped_down": stepped_down}
    return Proof(engine=made.text, stepped_down=stepped_down, evidence={**evidence, "golden": gate.seen})


def memory_fault(package: Package, config: Config) -> str | None:
    """Say why a package is too large for this site, if it is."""
    needed_mib, room = package.manifest.resources.memory_mib, room_bytes(config)
    if room is None or needed_mib * _MIB <= room:
        return None
    if config.inference.memory_gib is None:
        return f"It needs {needed_mib} MiB of memory; this machine has {room // _MIB} MiB."
    allowed_gib = config.inference.memory_gib
    return (
        f"It needs {needed_mib} MiB of memory; inference.memory_gib of this site allows {allowed_gib:g} GiB."
    )


def room_bytes(config: Config) -> int | None:
    """Give what a single model may need on this site; None where nothing here bounds it."""
    section = config.inference
    if section.memory_gib is not None:
        return int(section.memory_gib * 2**30)
    return None if REMOTE.issuperset(section.engines) else largest_bytes(section.engines)
