"""What the sections of a manifest must agree on among themselves.

A rule looks only at sections that are right by themselves, and gives one sentence per fault. New rules are
added to `RULES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from models.manifest_sections import Accepts, Input, InterpretStep, Output, PrepareStep
from models.operations.components import Components
from models.operations.intensity import Clip, FillPadding, Resample, Scale


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Hold the sections of a manifest that is being judged; None: that section has faults of its own."""

    accepts: Accepts | None
    input: Input | None
    prepare: tuple[PrepareStep, ...] | None
    output: Output | None
    interpret: tuple[InterpretStep, ...] | None


def disagreements(draft: Draft) -> list[str]:
    """List every fault the rules find."""
    return [fault for rule in RULES for fault in rule(draft)]


def _slices_in_order(draft: Draft) -> Iterator[str]:
    accepts = draft.accepts
    if accepts and accepts.slices_max is not None and accepts.slices_max < accepts.slices_min:
        yield f"accepts.slices_max is {accepts.slices_max}, less than slices_min ({accepts.slices_min})"


def _layout_has_its_keys(draft: Draft) -> Iterator[str]:
    given = draft.input
    if given is None:
        return
    if given.layout == "patch" and given.patch is None:
        yield 'input.patch is missing; layout = "patch" needs the shape of a patch (z, y, x)'
    if given.layout != "patch" and given.patch is not None:
        yield f'input.patch is given, but layout = "{given.layout}" has no patches'
    if given.layout != "patch" and given.overlap:
        yield f'input.overlap is given, but layout = "{given.layout}" has no patches'
    if given.layout == "slice" and given.spacing_mm is not None:
        yield 'input.spacing_mm is given, but layout = "slice" takes slices as they are'
    if given.layout == "slice" and given.orientation != "source":
        yield 'input.orientation must be "source" for layout = "slice"'


def _layout_has_its_output(draft: Draft) -> Iterator[str]:
    if draft.input is None or draft.output is None:
        return
    wanted = "labels" if draft.input.layout == "slice" else "probability"
    if draft.output.kind != wanted:
        yield (
            f'output.kind is "{draft.output.kind}"; with layout = "{draft.input.layout}" '
            f'this version reads "{wanted}"'
        )


def _resampling_is_meant(draft: Draft) -> Iterator[str]:
    if draft.input is None or draft.prepare is None:
        return
    named = sum(isinstance(step, Resample) for step in draft.prepare)
    if named > 1:
        yield f"prepare names resample {named} times; once is the most"
    if named and draft.input.spacing_mm is None:
        yield "prepare names resample, but input.spacing_mm says no spacing to go to"
    if not named and draft.input.spacing_mm is not None:
        yield "input.spacing_mm is given, but no prepare step is resample"


def _a_lattice_is_asked_for(draft: Draft) -> Iterator[str]:
    if draft.input is None or draft.accepts is None:
        return
    if draft.input.layout != "slice" and draft.accepts.geometry != "regular":
        yield (
            f'accepts.geometry must be "regular" with layout = "{draft.input.layout}": '
            "a volume with a gap is never bridged"
        )


def _prepare_in_order(draft: Draft) -> Iterator[str]:
    resampled = False
    for number, step in enumerate(draft.prepare or (), start=1):
        resampled = resampled or isinstance(step, Resample)
        if isinstance(step, FillPadding) and resampled:
            yield f"prepare[{number}] fill-padding must stand before resample, or padding is mixed in"
        if isinstance(step, Clip | Scale) and step.low >= step.high:
            yield f"prepare[{number}].low is {step.low}; it must be less than high ({step.high})"


def _labels_differ(draft: Draft) -> Iterator[str]:
    if draft.output is None:
        return
    for key in ("name", "value"):
        seen = [getattr(label, key) for label in draft.output.labels]
        for twice in sorted({one for one in seen if seen.count(one) > 1}):
            yield f"output.labels: {key} {twice!r} is used more than once"
    if draft.output.kind == "labels" and any(label.value == 0 for label in draft.output.labels):
        yield "output.labels: value 0 is kept for voxels without a label"


def _dtype_fits_kind(draft: Draft) -> Iterator[str]:
    if draft.output is None:
        return
    floating = draft.output.dtype.startswith("float")
    if floating == (draft.output.kind == "labels"):
        yield f'output.dtype is "{draft.output.dtype}", which cannot hold kind = "{draft.output.kind}"'


def _steps_read_the_output(draft: Draft) -> Iterator[str]:
    if draft.output is None:
        return
    for number, step in enumerate(draft.interpret or (), start=1):
        if step.reads != draft.output.kind:
            kind = draft.output.kind
            yield f'interpret[{number}] {step.step} reads {step.reads}, but output.kind is "{kind}"'


def _steps_name_known_labels(draft: Draft) -> Iterator[str]:
    if draft.output is None:
        return
    known = {label.name for label in draft.output.labels}
    listed = ", ".join(sorted(known))
    for number, step in enumerate(draft.interpret or (), start=1):
        named = (step.label,) if isinstance(step, Components) else step.labels or ()
        for name in named:
            if name not in known:
                yield f"interpret[{number}] names the label {name!r}; output.labels has {listed}"


def _abstain_band_holds_threshold(draft: Draft) -> Iterator[str]:
    for number, step in enumerate(draft.interpret or (), start=1):
        if isinstance(step, Components) and step.abstain is not None:
            low, high = step.abstain
            if not low <= step.threshold <= high or low >= high or low <= 0:
                yield (
                    f"interpret[{number}].abstain is [{low}, {high}]; it must rise, begin above 0 "
                    f"and hold the threshold ({step.threshold})"
                )


RULES = (
    _slices_in_order,
    _layout_has_its_keys,
    _layout_has_its_output,
    _resampling_is_meant,
    _a_lattice_is_asked_for,
    _prepare_in_order,
    _labels_differ,
    _dtype_fits_kind,
    _steps_read_the_output,
    _steps_name_known_labels,
    _abstain_band_holds_threshold,
)
