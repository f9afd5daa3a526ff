"""The step that says of each label whether the series shows it.

Promises: every label it was told to judge is listed, absent ones too, with its probability and threshold.
Never: says "no finding" while a label lies in the band its author does not trust.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.findings import Classification, Outcome, Verdict
from models.labels import Label, Name
from models.operations.band import Band, Threshold, verdict_of
from models.operations.part import Part, Scene
from models.operations.pooling import Pool, pooled
from models.operations.strict import Strict
from models.tensors import FloatArray


class Judgement(Strict):
    """Hold the threshold and the abstain band of one label."""

    threshold: Threshold
    abstain: Band | None = None


class Classify(Strict):
    """Judge labels by their probability.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: which are judged; all unless said. A label that only means "normal" is left out here.
        threshold: probability from which a label counts as present.
        abstain: [low, high) around it where the model abstains.
        per_label: threshold and band of single labels, in place of those above.
        pool: how the slices' probabilities become one.
        claim: "finding": a label that is present is a finding; "none": labels only describe (a body part).
    """

    step: Literal["classify"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    threshold: Threshold = 0.5
    abstain: Band | None = None
    per_label: dict[str, Judgement] = Field(default_factory=dict)
    pool: Pool = "max"
    claim: Literal["finding", "none"] = "finding"
    reads: ClassVar[tuple[str, ...]] = ("scores",)

    def begin(self, scene: Scene) -> "_Scores":
        """Start collecting."""
        return _Scores(self, scene)

    def judgement(self, label: str) -> Judgement:
        """Give what a label is judged by."""
        return self.per_label.get(label) or Judgement(threshold=self.threshold, abstain=self.abstain)


class _Scores:
    """Hold the probabilities of every slice or image."""

    def __init__(self, step: Classify, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._rows: list[FloatArray] = []

    def take_rows(self, rows: FloatArray) -> None:
        """Add the probabilities of some slices: float32, (n, width)."""
        self._rows.append(rows)

    def finish(self) -> Part:
        """Judge every label."""
        rows = np.concatenate(self._rows)
        probabilities = pooled(rows, self._step.pool)
        judged = [
            (label, self._judge(label, float(probabilities[label.value])))
            for label in self._scene.chosen(self._step.labels)
        ]
        verdicts = [one.verdict for _, one in judged]
        return Part(
            outcome=_outcome(verdicts) if self._step.claim == "finding" else None,
            statement=" ".join(_sentences(judged)),
            classifications=tuple(one for _, one in judged),
            details={f"threshold {one.label}": one.threshold for _, one in judged},
        )

    def _judge(self, label: Label, probability: float) -> Classification:
        by = self._step.judgement(label.name)
        return Classification(
            label=label.name,
            finding=label.type.code(),
            probability=probability,
            threshold=by.threshold,
            verdict=verdict_of(probability, by.threshold, by.abstain),
        )


def _outcome(verdicts: list[Verdict]) -> Outcome:
    if Verdict.PRESENT in verdicts:
        return Outcome.FINDING
    return Outcome.ABSTAINED if Verdict.ABSTAINED in verdicts else Outcome.NO_FINDING


def _sentences(judged: list[tuple[Label, Classification]]) -> Iterator[str]:
    """Say what is there, what is uncertain and what is not, each with its probability."""
    for verdict, words, behind in (
        (Verdict.PRESENT, "Present:", ""),
        (Verdict.ABSTAINED, "Uncertain:", "; the model neither confirms nor excludes"),
        (Verdict.ABSENT, "Not found:", ""),
    ):
        named = [
            f"{label.title} (probability {one.probability:.2f})"
            for label, one in judged
            if one.verdict is verdict
        ]
        if named:
            yield f"{words} {', '.join(named)}{behind}."
