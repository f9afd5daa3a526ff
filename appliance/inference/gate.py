"""An engine serves a model only after the model's golden cases came out right on this device.

Verdicts are remembered for as long as this object lives; those on built engines also lie in their sidecars.
A new process, a new runtime, a new device, a new package or a new way of judging is a new question.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.core import log
from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.inference.limits import InferenceLimits
from appliance.inference.parity import Verdict, asked_of, judge
from appliance.inference.reference import Reference
from models.package import Package

_log = log.get("inference")
Referring = Callable[[], Reference]


@dataclass(frozen=True, kw_only=True)
class GoldenGate:
    """Remembers which package agreed on which engine."""

    limits: InferenceLimits = field(default_factory=InferenceLimits)
    _verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict, repr=False)

    def admit(
        self,
        package: Package,
        engine: Engine,
        *,
        key: str | None = None,
        reference: Reference | None = None,
        before: Verdict | None = None,
    ) -> Verdict:
        """Let a loaded engine serve a package.

        `key` names the engine better than its provenance does. `reference` is what it is compared with beside
        the recorded answers. `before` is a verdict kept elsewhere; it counts when the question was the same.

        Raises:
            InferenceError: inference.golden, a case came out different; inference.parity, an answer is not
                finite; or the network failed in one.
        """
        asked = asked_of("" if reference is None else reference.text)
        known = (package.digest, key or _key(engine), asked)
        if before is not None and before.asked == asked:
            self._verdicts.setdefault(known, before)
        if known not in self._verdicts:
            self._verdicts[known] = self._ask(package, engine, reference)
        verdict = self._verdicts[known]
        if not verdict.ok:
            raise Refused(verdict)
        return verdict

    def _ask(self, package: Package, engine: Engine, reference: Reference | None) -> Verdict:
        until = time.monotonic() + self.limits.golden_seconds_max

        def infer(batch: Tensors) -> Tensors:
            return engine.infer(batch, deadline_seconds=until - time.monotonic())

        def refer(batch: Tensors) -> Tensors:
            assert reference is not None, "only asked where there is one"
            return reference.infer(batch, deadline_seconds=until - time.monotonic())

        try:
            if reference is None:
                return judge(package, infer, None)
            return judge(
                package,
                infer,
                refer,
                reference_text=reference.text,
                memory_bytes_max=self.limits.reference_bytes_max,
            )
        finally:
            if reference is not None:
                reference.close()


class Refused(InferenceError):
    """The golden cases did not come out right; the verdict says how."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("inference.golden", verdict.sentence)
        self.verdict = verdict


def _key(engine: Engine) -> str:
    provenance = engine.provenance()
    return json.dumps([provenance.text, dict(provenance.details)], sort_keys=True)
