"""The step that writes several labels at once: a segment and a volume for each.

Promises: a label that was looked for and not found has no segment and a volume of 0.
Never: gives a volume where the distance between slices is not one number.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models import codes
from models.findings import Measurement, Outcome, Verdict, Withheld
from models.labels import Label, Name
from models.operations.band import Threshold
from models.operations.label_maps import Masks, segment_of, why_no_volume
from models.operations.part import Part, Scene
from models.operations.strict import Strict

Millilitres = Annotated[float, Field(ge=0)]


class ClassMap(Strict):
    """Write segments and volumes of labels.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: which are written; all unless said. A label that only means "background" is left out here.
        measure: "volume", or nothing.
        threshold: for kind "probability": from which probability a voxel belongs to a label.
        findings: labels whose presence is a finding; without any the step makes no claim.
        volume_ml_min: less of such a label than this is no finding.
        abstain_ml: [low, high) of such a label's volume where the model abstains.
    """

    step: Literal["class-map"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    measure: tuple[Literal["volume"], ...] = ("volume",)
    threshold: Threshold = 0.5
    findings: tuple[str, ...] = ()
    volume_ml_min: Millilitres = 0.0
    abstain_ml: tuple[Millilitres, Millilitres] | None = None
    reads: ClassVar[tuple[str, ...]] = ("labels", "classes", "probability")

    def begin(self, scene: Scene) -> "_Classes":
        """Start collecting."""
        return _Classes(self, scene)


class _Classes(Masks):
    """Collect the masks of labels, and say how large each is."""

    def __init__(self, step: ClassMap, scene: Scene) -> None:
        super().__init__(scene.chosen(step.labels), scene)
        self._step, self._volume = step, scene.volume

    def finish(self) -> Part:
        """Give segments, volumes and what is claimed."""
        no_volume = why_no_volume(self._volume)
        present = [label for label in self.labels if self.masks[label.name].any()]
        measured, withheld = self._volumes(no_volume)
        verdicts = {label: self._verdict(label, no_volume) for label in self._claimed()}
        return Part(
            outcome=_outcome(list(verdicts.values())),
            statement=" ".join(self._sentences(verdicts, no_volume)),
            segments=tuple(
                segment_of(label, number, self.masks[label.name])
                for number, label in enumerate(present, start=1)
            ),
            measurements=measured,
            withheld=withheld,
        )

    def _claimed(self) -> list[Label]:
        return [label for label in self.labels if label.name in self._step.findings]

    def _volume_ml(self, label: Label) -> float:
        return float(self.masks[label.name].sum()) * self._volume.voxel_volume_mm3 / 1000.0

    def _volumes(self, no_volume: str | None) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        if not self._step.measure:
            return (), ()
        if no_volume is not None:
            return (), tuple(
                Withheld(name=codes.VOLUME, reason=no_volume, segment=label.name, finding=label.type.code())
                for label in self.labels
            )
        return tuple(
            Measurement(
                name=codes.VOLUME,
                value=self._volume_ml(label),
                unit=codes.MILLILITRE,
                segment=label.name,
                finding=label.type.code(),
            )
            for label in self.labels
        ), ()

    def _verdict(self, label: Label, no_volume: str | None) -> Verdict:
        """Judge a label by its volume, or by its presence where there is none."""
        step = self._step
        if not self.masks[label.name].any():
            return Verdict.ABSENT
        if no_volume is not None:
            return Verdict.ABSTAINED if step.volume_ml_min or step.abstain_ml else Verdict.PRESENT
        volume_ml = self._volume_ml(label)
        if step.abstain_ml is not None and step.abstain_ml[0] <= volume_ml < step.abstain_ml[1]:
            return Verdict.ABSTAINED
        return Verdict.PRESENT if volume_ml >= step.volume_ml_min else Verdict.ABSENT

    def _sentences(self, verdicts: dict[Label, Verdict], no_volume: str | None) -> Iterator[str]:
        """Say what was found, what is uncertain, what was not found, and what was only outlined."""
        for verdict, words, behind in (
            (Verdict.PRESENT, "Found:", ""),
            (Verdict.ABSTAINED, "Uncertain:", "; the model neither confirms nor excludes"),
            (Verdict.ABSENT, "Not found:", ""),
        ):
            named = [self._sized(label, no_volume) for label, one in verdicts.items() if one is verdict]
            if named:
                yield f"{words} {', '.join(named)}{behind}."
        others = [label for label in self.labels if label not in verdicts]
        if others:
            outlined = ", ".join(self._sized(label, no_volume) for label in others)
            yield f"Outlined: {outlined}."
        if not verdicts:
            yield "No finding is claimed."
        if no_volume is not None and self._step.measure:
            yield f"Volumes are withheld. {no_volume}"

    def _sized(self, label: Label, no_volume: str | None) -> str:
        if not self.masks[label.name].any():
            return label.title if label.name in self._step.findings else f"no {label.title}"
        if no_volume is not None or not self._step.measure:
            return label.title
        return f"{label.title} ({self._volume_ml(label):.1f} mL)"


def _outcome(verdicts: list[Verdict]) -> Outcome | None:
    if not verdicts:
        return None
    if Verdict.PRESENT in verdicts:
        return Outcome.FINDING
    return Outcome.ABSTAINED if Verdict.ABSTAINED in verdicts else Outcome.NO_FINDING
