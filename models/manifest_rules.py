"""What the sections of a manifest must agree on among themselves.

A rule looks only at sections that are right by themselves, and gives one sentence per fault. New rules are
added to `RULES`; those about what the network answers are in `manifest_output_rules`.
"""

from collections.abc import Iterator, Sequence

from models import manifest_output_rules
from models.manifest_draft import Draft
from models.manifest_sections import Input, PrepareStep
from models.operations.intensity import Clip, FillPadding, Resample, Scale
from models.operations.statistics import PercentileWindow, StatisticsStep

_FLAT = ("slice", "image")


def disagreements(draft: Draft) -> list[str]:
    """List every fault the rules find."""
    return [fault for rule in (*RULES, *manifest_output_rules.RULES) for fault in rule(draft)]


def _slices_in_order(draft: Draft) -> Iterator[str]:
    accepts = draft.accepts
    if accepts and accepts.slices_max is not None and accepts.slices_max < accepts.slices_min:
        yield f"accepts.slices_max is {accepts.slices_max}, less than slices_min ({accepts.slices_min})"


def _layout_has_its_keys(draft: Draft) -> Iterator[str]:
    given = draft.input
    if given is None:
        return
    yield from _patch_keys(given)
    yield from _size_keys(given)
    if given.layout in _FLAT and given.spacing_mm is not None:
        how = "slices as they are" if given.layout == "slice" else "images of one size in pixels"
        yield f'input.spacing_mm is given, but layout = "{given.layout}" takes {how}'
    if given.layout in _FLAT and given.orientation != "source":
        yield f'input.orientation must be "source" for layout = "{given.layout}"'
    if given.layout == "volume" and given.batch != 1:
        yield f'input.batch is {given.batch}, but layout = "volume" has one volume at a time'


def _patch_keys(given: Input) -> Iterator[str]:
    if given.layout == "patch" and given.patch is None:
        yield 'input.patch is missing; layout = "patch" needs the shape of a patch (z, y, x)'
    if given.layout != "patch" and given.patch is not None:
        yield f'input.patch is given, but layout = "{given.layout}" has no patches'
    if given.layout != "patch" and given.overlap:
        yield f'input.overlap is given, but layout = "{given.layout}" has no patches'
    if given.blend != "gaussian" and not given.overlap:
        yield f'input.blend is "{given.blend}", but input.overlap is 0, so nothing is blended'


def _size_keys(given: Input) -> Iterator[str]:
    size = given.size
    if given.layout == "image" and (size is None or len(size) != 2):
        yield 'input.size must be [rows, columns]; layout = "image" resizes every image to it'
    if given.layout == "volume" and size is not None and len(size) != 3:
        yield 'input.size must be [z, y, x] for layout = "volume"'
    if given.layout == "volume" and size is not None and given.spacing_mm is not None:
        yield "input.size and input.spacing_mm are both given; each says how large the grid is"
    if given.layout in ("slice", "patch") and size is not None:
        yield f'input.size is given, but layout = "{given.layout}" resizes nothing to a size'
    if given.layout != "image" and given.fit != "stretch":
        yield f'input.fit is given, but layout = "{given.layout}" fits no image into a size'


def _resampling_is_meant(draft: Draft) -> Iterator[str]:
    if draft.input is None or draft.prepare is None:
        return
    named = sum(isinstance(step, Resample) for step in draft.prepare)
    resized = draft.input.layout == "volume" and draft.input.size is not None
    if named > 1:
        yield f"prepare names resample {named} times; once is the most"
    if named and draft.input.spacing_mm is None and not resized:
        yield "prepare names resample, but input.spacing_mm says no spacing to go to"
    if not named and draft.input.spacing_mm is not None:
        yield "input.spacing_mm is given, but no prepare step is resample"
    if not named and resized:
        yield "input.size is given, but no prepare step is resample"


def _a_lattice_is_asked_for(draft: Draft) -> Iterator[str]:
    if draft.input is None or draft.accepts is None:
        return
    if draft.input.layout not in _FLAT and draft.accepts.geometry != "regular":
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
    yield from _value_steps(draft, draft.prepare or (), "prepare")
    for number, channel in enumerate(draft.channels or (), start=1):
        yield from _value_steps(draft, channel.prepare, f"channels[{number}].prepare")


def _value_steps(draft: Draft, steps: Sequence[PrepareStep], where: str) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        if isinstance(step, Clip | Scale | PercentileWindow) and step.low >= step.high:
            yield f"{where}[{number}].low is {step.low}; it must be less than high ({step.high})"
        if isinstance(step, Scale | PercentileWindow) and step.to[0] >= step.to[1]:
            yield f"{where}[{number}].to is {list(step.to)}; it must rise"
        if isinstance(step, StatisticsStep) and step.per == "slice" and draft.input:
            layout = draft.input.layout
            if layout not in _FLAT:
                yield f'{where}[{number}].per is "slice", but layout = "{layout}" sees no single slices'


def _channels_differ(draft: Draft) -> Iterator[str]:
    seen = [channel.name for channel in draft.channels or ()]
    for twice in sorted({one for one in seen if seen.count(one) > 1}):
        yield f"channels: name {twice!r} is used more than once"


RULES = (
    _slices_in_order,
    _layout_has_its_keys,
    _resampling_is_meant,
    _a_lattice_is_asked_for,
    _prepare_in_order,
    _channels_differ,
)
