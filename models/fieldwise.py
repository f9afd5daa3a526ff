"""Run a network over the series on a grid: patch by patch and blended, or all at once.

Promises: what comes back to the source grid is drawn plane by plane, and only where something was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from models import answers as read
from models.manifest import Manifest
from models.manifest_outputs import Output
from models.manifest_sections import InterpretStep
from models.operations.boxes import Boxes, joined
from models.operations.components import Components
from models.operations.grid import Grid, Shape, lay
from models.operations.heat_map import HeatMap, Levels, levels_of
from models.operations.part import Part
from models.operations.patches import Infer, Progress, Sliding, Window, slide
from models.preparation import Channels, channels_of, on_grid, planes_of
from models.reading import Answer, Readers, only_compared, scene_of
from models.slicewise import largest, named
from models.tensors import BoolArray, FloatArray, LabelArray, Volume

_DENSE = ("probability", "classes")


def read_field(
    manifest: Manifest,
    volume: Volume,
    infer: Infer,
    *,
    steps: tuple[InterpretStep, ...],
    progress: Progress | None,
) -> list[Part]:
    """Put the series on the network's grid, run it over that, and let these steps read the whole answer."""
    given = manifest.input
    size = None if given.size is None else (given.size[0], given.size[1], given.size[2])
    laid = lay(volume, orientation=given.orientation, spacing_mm=given.spacing_mm, size=size)
    field = on_grid(manifest, volume, laid)
    channels = channels_of(manifest, lambda: planes_of(field), field.size)
    run = _Run(manifest=manifest, infer=infer, field=field, channels=channels)
    answers = run.at_once() if given.layout == "volume" else run.in_patches(progress)
    if given.layout == "volume" and progress is not None:
        progress(1, 1)
    found = {name: replace(one, laid=laid, volume=volume) for name, one in answers.items()}
    return [_interpreted(manifest, step, found, laid) for step in steps]


def _interpreted(manifest: Manifest, step: InterpretStep, found: "dict[str, _Whole]", laid: Grid) -> Part:
    output = manifest.read_by(step)
    whole = found[output.called]
    assert whole.volume is not None, "set when the whole answer is there"
    if isinstance(step, Components):
        (label,) = (label for label in output.labels if label.name == step.label)
        return step.interpret(whole.shares()[label.value], laid, scene_of(whole.volume, output))
    if isinstance(step, HeatMap):
        scene = scene_of(whole.volume, output)
        drawn = {
            label.name: _drawn_levels(whole.shares()[label.value], step.lowest, laid)
            for label in scene.chosen(step.labels)
        }
        return step.interpret(drawn, scene)
    reader = Readers(manifest, whole.volume, (step,))

    def answer(_: Output) -> Answer:
        return whole

    reader.take(0, answer)
    return reader.finish()[0]


@dataclass(kw_only=True, eq=False)
class _Whole:
    """One output's answer for the whole series; see `models.reading.Answer`."""

    output: Output
    field: FloatArray | None = None
    labels: LabelArray | None = None
    numbers: FloatArray | None = None
    drawn: Boxes | None = None
    laid: Grid | None = None
    volume: Volume | None = None

    def shares(self) -> FloatArray:
        """Give the probabilities on the grid: (channels, z, y, x)."""
        assert self.field is not None, "the output answers for every voxel"
        if self.output.kind == "classes":
            read.check_share(self.field)
        return self.field

    def label_map(self) -> LabelArray:
        """Give the labels on the source, without those of padding."""
        return self._source_labels

    @cached_property
    def _source_labels(self) -> LabelArray:
        assert self.laid is not None, "set when the whole answer is there"
        assert self.volume is not None, "set when the whole answer is there"
        turned = self._turned_labels(self.laid)
        labels = np.ascontiguousarray(self.laid.turn.undo(turned))
        labels *= self.volume.valid
        return labels

    def _turned_labels(self, laid: Grid) -> LabelArray:
        if self.field is None:
            assert self.labels is not None, "the output answers for every voxel"
            return _nearest(self.labels, laid)
        winners = named(self.field, self.output)
        if laid.shape == laid.source_shape and laid.spacing_mm == laid.source_spacing_mm:
            return winners
        return _drawn_labels(self.field, winners, self.output, laid)

    def mask(self, value: int, threshold: float) -> BoolArray:
        """Give where a label's probability reaches the threshold, on the source."""
        assert self.laid is not None, "set when the whole answer is there"
        assert self.volume is not None, "set when the whole answer is there"
        turned = _drawn_mask(self.shares()[value], threshold, self.laid)
        return self.laid.turn.undo(turned) & self.volume.valid

    def probability(self, value: int) -> FloatArray:
        """Never asked for: components and heat maps read the grid itself."""
        raise NotImplementedError

    def rows(self) -> FloatArray:
        """Give scores or values."""
        assert self.numbers is not None, "the output answers in numbers"
        return self.numbers

    def boxes(self) -> Boxes:
        """Give the boxes on the source."""
        assert self.drawn is not None, "the output answers in boxes"
        assert self.laid is not None, "set when the whole answer is there"
        ends = self.laid.to_source(self.drawn.corners.reshape(-1, 3)).reshape(-1, 2, 3)
        corners = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        return Boxes(corners=corners, values=self.drawn.values, scores=self.drawn.scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """One network over one field."""

    manifest: Manifest
    infer: Infer
    field: FloatArray
    channels: Channels

    def at_once(self) -> dict[str, _Whole]:
        """Ask for the whole grid in one call."""
        shape = (1, *self.field.shape)
        answers = read.ask(self.manifest, self.channels.of_part(self.field)[None], self.infer)
        found = {}
        for output in self.manifest.answers:
            one = found[output.called] = _Whole(output=output)
            if output.kind in _DENSE:
                one.field = self._shares(read.dense(answers, output, shape)[0], output)
            elif output.kind == "labels":
                one.labels = read.label_map(answers, output, shape)[0]
            elif output.kind == "boxes":
                one.drawn = _boxes(read.boxes(answers, output, 1, self.field.shape)[0], (0, 0, 0))
            else:
                one.numbers = read.rows(answers, output, 1)
        return found

    def in_patches(self, progress: Progress | None) -> dict[str, _Whole]:
        """Slide over the grid and blend; boxes are kept where they were drawn."""
        given = self.manifest.input
        assert given.patch is not None, "the manifest's rules ask for it"
        drawn: dict[str, list[Boxes]] = {}
        patch = given.patch

        def answering(batch: FloatArray, group: Sequence[Window]) -> dict[str, FloatArray]:
            answers = read.ask(self.manifest, batch, self.infer)
            for output in self.manifest.answers:
                if output.kind == "boxes":
                    boxes = read.boxes(answers, output, len(batch), patch)
                    kept = drawn.setdefault(output.called, [])
                    kept += [_boxes(one, _first(window)) for one, window in zip(boxes, group, strict=True)]
            return {
                output.called: read.dense(answers, output, (len(batch), *patch))
                for output in self.manifest.answers
                if output.kind in _DENSE
            }

        sliding = Sliding(
            patch=patch,
            overlap=given.overlap,
            batch=given.batch,
            pad_value=given.pad_value,
            blend=given.blend,
        )
        blended = slide(self.field, sliding, answering, feed=self.channels.of_part, progress=progress)
        found = {}
        for output in self.manifest.answers:
            one = found[output.called] = _Whole(output=output)
            if output.kind == "boxes":
                one.drawn = joined(drawn[output.called])
            else:
                one.field = self._shares(blended.pop(output.called), output)
        return found

    def _shares(self, field: FloatArray, output: Output) -> FloatArray:
        """Turn what came into probabilities, unless it is classes and only which is largest is asked."""
        if output.kind == "classes" and output.called in only_compared(self.manifest):
            return field
        return read.activated(field, output, axis=0)


def _first(window: Window) -> Shape:
    return window[0].start, window[1].start, window[2].start


def _boxes(drawn: read.Drawn, first: Shape) -> Boxes:
    """Put boxes of a patch that begins at index `first` on the grid."""
    corners = drawn.corners + np.array((*first, *first), dtype=np.float64)
    return Boxes(corners=corners, values=drawn.values, scores=drawn.scores)


def _nearest(labels: LabelArray, laid: Grid) -> LabelArray:
    """Give each turned source voxel the label of the grid voxel it lies in."""
    z, y, x = (
        np.clip(((np.arange(old) + 0.5) * mine / new).astype(np.intp), 0, size - 1)
        for old, mine, new, size in zip(
            laid.source_shape, laid.source_spacing_mm, laid.spacing_mm, laid.shape, strict=True
        )
    )
    return labels[np.ix_(z, y, x)]


def _drawn_labels(field: FloatArray, winners: LabelArray, output: Output, laid: Grid) -> LabelArray:
    """Interpolate the channels that win somewhere onto the turned source, and let the largest win.

    Where no label wins at any grid voxel around, none can win between them, so nothing is computed there.
    """
    turned = np.zeros(laid.source_shape, dtype=np.uint8)
    (near,) = ndimage.find_objects((winners != 0).astype(np.uint8)) or (None,)
    if near is None:
        return turned
    wide = _widened(near, laid.shape)
    present = {int(value) for value in np.flatnonzero(np.bincount(winners[near].ravel()))}
    unnamed = set(range(len(field))) - {label.value for label in output.labels}
    rivals = sorted(present | unnamed)
    first = (wide[0].start, wide[1].start, wide[2].start)
    part = np.stack([field[(rival, *wide)] for rival in rivals])
    box = laid.covered(first, part.shape[1:])
    values = [0 if rival in unnamed else rival for rival in rivals]
    for z, plane in laid.planes(part, first=first, box=box):
        turned[z, box[1].start : box[1].stop, box[2].start : box[2].stop] = largest(plane[:, None], values)[0]
    return turned


def _drawn_mask(share: FloatArray, threshold: float, laid: Grid) -> BoolArray:
    """Interpolate one channel onto the turned source where it can reach the threshold."""
    turned = np.zeros(laid.source_shape, dtype=np.bool_)
    (near,) = ndimage.find_objects((share >= threshold).astype(np.uint8)) or (None,)
    if near is None:
        return turned
    wide = _widened(near, laid.shape)
    first = (wide[0].start, wide[1].start, wide[2].start)
    part = share[wide][None]
    box = laid.covered(first, part.shape[1:])
    for z, plane in laid.planes(part, first=first, box=box):
        turned[z, box[1].start : box[1].stop, box[2].start : box[2].stop] = plane[0] >= threshold
    return turned


def _drawn_levels(share: FloatArray, lowest: float, laid: Grid) -> Levels:
    """Interpolate one channel onto the source, in the box where it can reach `lowest`, as levels."""
    (near,) = ndimage.find_objects((share >= lowest).astype(np.uint8)) or (None,)
    if near is None:
        return (0, 0, 0), np.zeros((0, 0, 0), dtype=np.uint8)
    wide = _widened(near, laid.shape)
    first = (wide[0].start, wide[1].start, wide[2].start)
    part = share[wide][None]
    box = laid.covered(first, part.shape[1:])
    turned = np.zeros([len(one) for one in box], dtype=np.uint8)
    for z, plane in laid.planes(part, first=first, box=box):
        turned[z - box[0].start] = levels_of(plane[0], lowest)
    return laid.start_in_source(box), np.ascontiguousarray(laid.turn.undo(turned))


def _widened(part: tuple[slice, slice, slice], shape: Shape) -> tuple[slice, slice, slice]:
    """Take the neighbours in, which take part in drawing the edge."""
    z, y, x = (
        slice(max(0, one.start - 1), min(size, one.stop + 1)) for one, size in zip(part, shape, strict=True)
    )
    return z, y, x
