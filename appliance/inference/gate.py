"""An engine serves a model only after the model's golden cases came out right on this device.

Verdicts are kept in memory only: a new process, a new runtime or a new package is a new question.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.inference.limits import InferenceLimits
from models.golden import GoldenReport, check
from models.package import Package


@dataclass(frozen=True, kw_only=True)
class GoldenGate:
    """Remembers which package agreed on which engine."""

    limits: InferenceLimits = field(default_factory=InferenceLimits)
    _verdicts: dict[tuple[str, str], GoldenReport] = field(default_factory=dict, repr=False)

    def admit(self, package: Package, engine: Engine) -> GoldenReport:
        """Let a loaded engine serve a package.

        Raises:
            InferenceError: inference.golden, a case came out different; or the network failed in one.
        """
        key = (package.digest, _key(engine))
        if key not in self._verdicts:
            self._verdicts[key] = self._ask(package, engine)
        report = self._verdicts[key]
        if not report.ok:
            raise InferenceError("inference.golden", _sentence(report))
        return report

    def _ask(self, package: Package, engine: Engine) -> GoldenReport:
        until = time.monotonic() + self.limits.golden_seconds_max

        def infer(batch: Tensors) -> Tensors:
            return engine.infer(batch, deadline_seconds=until - time.monotonic())

        return check(package, infer)


def _key(engine: Engine) -> str:
    provenance = engine.provenance()
    return json.dumps([provenance.text, dict(provenance.details)], sort_keys=True)


def _sentence(report: GoldenReport) -> str:
    wrong = [case for case in report.cases if not case.ok]
    if not wrong:
        return "The model has no golden case to check the engine with."
    first = f"{wrong[0].name}: {wrong[0].differences[0]}" if wrong[0].differences else wrong[0].name
    return f"{len(wrong)} of {len(report.cases)} golden cases came out different on this engine ({first})."
