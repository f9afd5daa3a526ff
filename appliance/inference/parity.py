"""Judge an engine by the golden cases of a model: against what was recorded, and against the processor.

Promises: an answer that holds NaN or infinity where the reference holds none is refused; the verdict says
what was measured, case by case, in the terms of the task, so that a person can weigh a refusal.
Never: serves, and never changes a tolerance to make an engine fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.engine import InferenceError, Tensors
from appliance.inference.reference import digest_of
from appliance.inference.tolerance import tolerances_of
from models.agreement import compare
from models.analysis import AnswerError, NotAccepted, analyse
from models.golden import cases, check
from models.manifest_sections import Tolerances
from models.package import Package
from models.tensors import Volume

PROCEDURE = "1"
"""Changes with how engines are judged: a verdict of another procedure is asked for again."""

Ask = Callable[[Tensors], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class CaseVerdict:
    """How one golden case came out: what was measured, and one sentence for each thing that differs."""

    name: str
    differences: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an engine may serve a model on this device.

    Attributes:
        cases: one for each golden case.
        refusal: why it is refused whatever the cases say; "" when the cases decide.
        reference: the engine it was compared with; "" when only with what was recorded.
        tensors: largest difference of each output from the reference's, and that by the reference's range.
        asked: procedure and reference; a verdict holds for these only.
        seconds: how long it took.
    """

    ok: bool
    cases: tuple[CaseVerdict, ...] = ()
    refusal: str = ""
    reference: str = ""
    tensors: Mapping[str, float] = field(default_factory=dict)
    asked: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Say in one sentence why it is refused."""
        if self.refusal:
            return self.refusal
        wrong = [case for case in self.cases if case.differences]
        if not wrong:
            return "The model has no golden case to check the engine with."
        return (
            f"{len(wrong)} of {len(self.cases)} golden cases came out different on this engine "
            f"({wrong[0].name}: {wrong[0].differences[0]})."
        )


def verdict_of(held: Mapping[str, Any]) -> Verdict:
    """Read a verdict back from JSON values that this box sealed."""
    told = tuple(
        CaseVerdict(name=c["name"], differences=tuple(c["differences"]), measures=c["measures"])
        for c in held["cases"]
    )
    return Verdict(**{**held, "cases": told})


def asked_of(reference_text: str) -> str:
    """Name the question: a verdict is taken over only where it was the same one."""
    return f"parity-{PROCEDURE} against {reference_text or 'the recorded answers'}"


def judge(
    package: Package,
    candidate: Ask,
    reference: Ask | None,
    *,
    reference_text: str = "",
    memory_bytes_max: int = 0,
) -> Verdict:
    """Ask an engine the golden cases of a package.

    Answers are remembered within `memory_bytes_max`, so that no case is asked twice where they fit.

    Raises:
        InferenceError: the engine, or the reference, failed in one.
    """
    began = time.monotonic()
    watched = _Watched(candidate, reference, memory_bytes_max=memory_bytes_max)
    try:
        told = tuple(_cases(package, watched, reference))
    except _NotFinite as error:
        verdict = Verdict(ok=False, refusal=error.sentence)
    else:
        verdict = Verdict(ok=bool(told) and not any(case.differences for case in told), cases=told)
    return replace(
        verdict,
        reference=reference_text,
        tensors=watched.tensors,
        asked=asked_of(reference_text),
        seconds=round(time.monotonic() - began, 3),
    )


def _cases(package: Package, watched: Ask, reference: Ask | None) -> Iterator[CaseVerdict]:
    recorded = check(package, watched).cases
    if reference is None or any(case.differences for case in recorded):
        # What differs from the record differs; the reference could say no more than that.
        yield from (
            CaseVerdict(name=case.name, differences=case.differences, measures=case.measures)
            for case in recorded
        )
        return
    tolerances = tolerances_of(package)
    for name, volume in cases(package):
        yield _compared(package, name, volume, watched=watched, reference=reference, tolerances=tolerances)


def _compared(
    package: Package, name: str, volume: Volume, *, watched: Ask, reference: Ask, tolerances: Tolerances
) -> CaseVerdict:
    """Compare one case with the processor's answer; both read it from what they remember."""
    try:
        expected = analyse(package, volume, reference)
        agreed = compare(expected, analyse(package, volume, watched), tolerances)
    except (NotAccepted, AnswerError) as error:
        return CaseVerdict(name=name, differences=(f"the processor's answer: {error}",))
    differences = tuple(f"compared with the processor: {one}" for one in agreed.differences)
    return CaseVerdict(name=name, differences=differences, measures=agreed.measures)


class _NotFinite(InferenceError):
    """An answer holds what no result may hold."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__("inference.parity", f"The output {name!r} holds {what} for a golden case.")


class _Watched:
    """Asks the candidate, and the reference the same; refuses what is not finite; measures the difference."""

    def __init__(self, candidate: Ask, reference: Ask | None, *, memory_bytes_max: int = 0) -> None:
        self._candidate, self._reference = candidate, reference
        self._remembered: dict[str, Tensors] = {}
        self._room_bytes = memory_bytes_max
        self.tensors: dict[str, float] = {}

    def __call__(self, batch: Tensors) -> Tensors:
        asked = digest_of(batch)
        if asked not in self._remembered:
            answer = self._answer(batch)
            self._room_bytes -= sum(array.nbytes for array in answer.values())
            if self._room_bytes < 0:
                return answer
            self._remembered[asked] = answer
        return self._remembered[asked]

    def _answer(self, batch: Tensors) -> Tensors:
        answer = self._candidate(batch)
        expected = None if self._reference is None else self._reference(batch)
        for name, array in answer.items():
            wanted = None if expected is None else expected.get(name)
            _check_finite(name, array, wanted)
            if wanted is not None and wanted.shape == array.shape:
                self._measure(name, array, wanted)
        return answer

    def _measure(self, name: str, array: NDArray[Any], wanted: NDArray[Any]) -> None:
        finite = np.isfinite(wanted)
        if not finite.any():
            return
        reference = wanted[finite].astype(np.float64)
        largest = float(np.abs(array[finite].astype(np.float64) - reference).max())
        spread = float(reference.max() - reference.min())
        self._raise_to(f"{name}: largest difference", largest)
        self._raise_to(f"{name}: largest difference by range", largest / spread if spread else largest)

    def _raise_to(self, key: str, value: float) -> None:
        self.tensors[key] = max(self.tensors.get(key, 0.0), value)


def _check_finite(name: str, array: NDArray[Any], wanted: NDArray[Any] | None) -> None:
    """Refuse NaN always, and infinity where the reference has none."""
    if not np.issubdtype(array.dtype, np.floating) or np.isfinite(array).all():
        return
    if np.isnan(array).any():
        raise _NotFinite(name, "NaN")
    if wanted is None or wanted.shape != array.shape or not np.array_equal(np.isinf(wanted), np.isinf(array)):
        raise _NotFinite(name, "infinity")
