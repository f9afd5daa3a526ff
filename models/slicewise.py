"""Run a network slice by slice or image by image.

A batch of slices may be asked about before the rest of its series is here: see `ask_ahead`.

Promises: the series is streamed; beside it there are two batches. While the network works on one, the answer
to the one before it is read.
Never: calls the network from another thread than the caller's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models import answers as read
from models.manifest import Manifest
from models.manifest_outputs import Output
from models.manifest_sections import Input, InterpretStep
from models.operations.boxes import Boxes, joined
from models.operations.frame import Frame, frame_of
from models.operations.part import Part
from models.operations.patches import Infer, Progress, Tensors
from models.operations.statistics import StatisticsStep
from models.preparation import Slices, slices_of
from models.reading import Answer, Readers, only_compared
from models.tensors import BoolArray, FloatArray, LabelArray, Volume

Known = Callable[[int], Tensors | None]
"""Gives the answers to the batch that begins at a slice, where it was asked about ahead; not writeable."""


def goes_ahead(manifest: Manifest) -> bool:
    """Say whether what a batch is fed depends on its own slices alone, and not on the rest of the series."""
    steps = (*manifest.prepare, *(step for channel in manifest.channels for step in channel.prepare))
    of_series = (isinstance(step, StatisticsStep) and step.per == "series" for step in steps)
    return manifest.input.layout in ("slice", "image") and not any(of_series)


def ask_ahead(manifest: Manifest, batch: Volume, infer: Infer) -> Tensors:
    """Ask about one batch, whose slices `batch` holds and no others, as `read_slices` would ask about them.

    Only where the network `goes_ahead`. The answers are not writeable, for they may be read more than once.

    Raises:
        AnswerError: an output the manifest reads is not among the answers.
    """
    answers = read.ask(manifest, _Fed.of(manifest, batch).block(0), infer)
    kept = {name: np.array(answer, copy=not answer.flags.owndata) for name, answer in answers.items()}
    for answer in kept.values():
        answer.flags.writeable = False
    return kept


def read_slices(
    manifest: Manifest,
    volume: Volume,
    infer: Infer,
    *,
    steps: tuple[InterpretStep, ...],
    progress: Progress | None,
    known: Known = lambda _first: None,
) -> list[Part]:
    """Stream the slices through the network, which is not asked what is `known`, into these steps."""
    readers = Readers(manifest, volume, steps)
    fed = _Fed.of(manifest, volume)
    compared = only_compared(manifest)
    total = len(volume.voxels)
    with ThreadPoolExecutor(1, thread_name_prefix="slices") as side:
        taken: Future[None] | None = None
        for first in range(0, total, manifest.input.batch):
            answers = known(first)
            if answers is None:
                answers = read.ask(manifest, fed.block(first), infer)
            valid = volume.valid[first : first + manifest.input.batch]
            given = {
                output.called: _Block(
                    output=output,
                    answers=answers,
                    first=first,
                    valid=valid,
                    frame=fed.frame,
                    size=fed.size,
                    compared=output.called in compared,
                )
                for output in manifest.answers
            }
            if taken is not None:
                taken.result()  # one answer waits at most, so that memory stays bounded
            taken = side.submit(readers.take, first, _among(given))
            if progress is not None:
                progress(first + len(valid), total)
        if taken is not None:
            taken.result()
    return readers.finish()


def _among(given: "dict[str, _Block]") -> Callable[[Output], Answer]:
    return lambda output: given[output.called]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fed:
    """What a network is fed of a volume, batch by batch."""

    manifest: Manifest
    slices: Slices
    frame: Frame | None

    @classmethod
    def of(cls, manifest: Manifest, volume: Volume) -> "_Fed":
        """Measure what the steps need of the whole series."""
        return cls(
            manifest=manifest, slices=slices_of(manifest, volume), frame=_frame(manifest.input, volume)
        )

    @property
    def size(self) -> tuple[int, int]:
        """Give rows and columns of what is fed."""
        _, rows, columns = self.slices.volume.shape
        return (rows, columns) if self.frame is None else self.frame.size

    def block(self, first: int) -> FloatArray:
        """Give the batch that begins at a slice: float32, (n, c, y, x)."""
        given = self.manifest.input
        batch = self.slices.block(first, given.batch)
        if self.frame is None:
            return batch
        return np.stack([self.frame.into(one, given.pad_value) for one in batch])


def _frame(given: Input, volume: Volume) -> Frame | None:
    if given.layout != "image":
        return None
    assert given.size is not None, "the manifest's rules ask for it"
    rows, columns = given.size
    return frame_of(volume.shape[1:], (rows, columns), given.fit)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One output's answer for a batch of slices; see `models.reading.Answer`."""

    output: Output
    answers: Tensors
    first: int
    valid: BoolArray
    frame: Frame | None
    size: tuple[int, int]
    compared: bool

    def label_map(self) -> LabelArray:
        """Give the labels, without those of padding."""
        return self._labels

    @cached_property
    def _labels(self) -> LabelArray:
        if self.output.kind == "labels":
            labels = read.label_map(self.answers, self.output, (len(self.valid), *self.size))
            if self.frame is not None:
                labels = np.stack([self.frame.back_labels(one) for one in labels])
        else:
            labels = np.stack([named(self._back(one), self.output) for one in self._field])
        return np.multiply(labels, self.valid, dtype=np.uint8)

    def mask(self, value: int, threshold: float) -> BoolArray:
        """Give where a label's probability reaches the threshold."""
        return (self.probability(value) >= threshold) & self.valid

    def probability(self, value: int) -> FloatArray:
        """Give a label's probability."""
        return np.stack([self._back(one[value : value + 1])[0] for one in self._field])

    def rows(self) -> FloatArray:
        """Give scores or values."""
        return read.rows(self.answers, self.output, len(self.valid))

    def boxes(self) -> Boxes:
        """Give the boxes, each on its slice."""
        drawn = read.boxes(self.answers, self.output, len(self.valid), self.size)
        return joined([self._on_source(one, self.first + n) for n, one in enumerate(drawn)])

    @cached_property
    def _field(self) -> FloatArray:
        field = read.dense(self.answers, self.output, (len(self.valid), *self.size))
        if self.output.kind == "classes" and self.compared and self.output.activation == "none":
            return field
        field = read.activated(field, self.output, axis=1)
        if not self.compared:
            read.check_share(field)
        return field

    def _back(self, field: FloatArray) -> FloatArray:
        return field if self.frame is None else self.frame.back(field)

    def _on_source(self, drawn: read.Drawn, z: int) -> Boxes:
        ends = drawn.corners.reshape(-1, 2)
        ends = ends if self.frame is None else self.frame.to_source(ends)
        flat = ends.reshape(-1, 4)
        depth = np.full(len(flat), float(z))
        corners = np.stack([depth, flat[:, 0], flat[:, 1], depth + 1, flat[:, 2], flat[:, 3]], axis=1)
        return Boxes(corners=corners, values=drawn.values, scores=drawn.scores)


def named(channels: FloatArray, output: Output) -> LabelArray:
    """Give each voxel the label of its largest channel: (c, ...) -> uint8 (...)."""
    known = {label.value for label in output.labels}
    return largest(channels, [value if value in known else 0 for value in range(len(channels))])


def largest(channels: FloatArray, values: Sequence[int]) -> LabelArray:
    """Give each voxel the value of its largest channel, of equal ones the first: (c, ...) -> uint8 (...).

    Plane by plane and channel by channel: several times faster than argmax over the first axis.
    """
    found = np.empty(channels.shape[1:], dtype=np.uint8)
    wins = np.empty(channels.shape[2:], dtype=np.bool_)
    for z in range(len(found)):
        best = channels[0, z].copy()
        found[z] = values[0]
        for value, channel in zip(values[1:], channels[1:, z], strict=True):
            np.greater(channel, best, out=wins)
            np.copyto(found[z], value, where=wins)
            np.maximum(best, channel, out=best)
    return found
