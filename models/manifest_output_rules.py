"""What must agree about a network's answers: with the layout, among themselves, and with what reads them."""

from collections.abc import Callable, Iterable, Iterator

from models.labels import UCUM
from models.limits import MapLimits
from models.manifest_draft import Draft, candidates
from models.manifest_outputs import MASKED, Kind, Output
from models.manifest_sections import InterpretStep
from models.operations.band import band_fault
from models.operations.class_map import ClassMap
from models.operations.classify import Classify
from models.operations.components import Components
from models.operations.detect import Detect
from models.operations.heat_map import HeatMap
from models.operations.label_maps import WriteSegments
from models.operations.measure import Measure

Faults = Iterator[str]
_ALL: tuple[Kind, ...] = ("labels", "probability", "classes", "scores", "values", "boxes")
_KINDS: dict[str, tuple[Kind, ...]] = {
    "slice": _ALL,
    "image": _ALL,
    "volume": _ALL,
    "patch": ("probability", "classes", "boxes"),
}
_STEPS_OF_TASK = {
    "classification": ("classify",),
    "detection": ("detect", "components"),
    "segmentation": ("segments", "components", "class-map"),
    "measurement": ("measure", "label-statistics", "class-map"),
}


def _one_way_to_say_outputs(draft: Draft) -> Faults:
    if not draft.given:
        yield "output is missing; say [output], or [[outputs]] where the network has several"
    if len(draft.given) > 1:
        yield "output and outputs are both given; say [[outputs]] alone"


def _outputs_differ(draft: Draft) -> Faults:
    outputs = draft.outputs or ()
    yield from _twice((output.called for output in outputs), "outputs: name")
    yield from _twice((tensor for output in outputs for tensor in output.tensors), "outputs: tensor")
    masked = [label.name for output in outputs if output.kind in MASKED for label in output.labels]
    if len(outputs) > 1:
        yield from _twice(masked, "outputs: label name")


def _twice(names: Iterable[object], what: str) -> Faults:
    seen = list(names)
    for twice in sorted({one for one in seen if seen.count(one) > 1}, key=str):
        yield f"{what} {twice!r} is used more than once"


def _layout_has_its_kind(draft: Draft) -> Faults:
    if draft.input is None:
        return
    layout = draft.input.layout
    for where, output in draft.each_output():
        if output.kind not in _KINDS[layout]:
            read = " or ".join(f'"{kind}"' for kind in _KINDS[layout])
            yield f'{where}.kind is "{output.kind}"; with layout = "{layout}" this version reads {read}'
        if output.kind == "boxes" and output.coordinates is not None:
            solid = output.coordinates in ("zyxzyx", "xyzxyz")
            if solid != (layout in ("patch", "volume")):
                numbers = 6 if solid else 4
                yield f'{where}.coordinates has {numbers} numbers, which does not fit layout = "{layout}"'


def _kind_has_its_keys(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        named, other = ("quantities", "labels") if output.kind == "values" else ("labels", "quantities")
        if not getattr(output, named):
            yield f'{where}.{named} is missing; kind = "{output.kind}" needs at least one'
        if getattr(output, other):
            yield f'{where}.{other} is given, but kind = "{output.kind}" has {named}'
        yield from _box_keys(where, output)


def _box_keys(where: str, output: Output) -> Faults:
    for key in ("coordinates", "box_scores"):
        given = getattr(output, key) is not None
        if output.kind == "boxes" and not given:
            yield f'{where}.{key} is missing; kind = "boxes" needs it'
        if output.kind != "boxes" and given:
            yield f'{where}.{key} is given, but kind = "{output.kind}" has no boxes'
    if output.kind != "boxes" and output.box_labels is not None:
        yield f'{where}.box_labels is given, but kind = "{output.kind}" has no boxes'


def _labels_differ(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        for key in ("name", "value"):
            yield from _twice((getattr(label, key) for label in output.labels), f"{where}.labels: {key}")
            yield from _twice((getattr(one, key) for one in output.quantities), f"{where}.quantities: {key}")
        if output.kind in ("labels", "classes") and any(label.value == 0 for label in output.labels):
            yield f"{where}.labels: value 0 is kept for voxels without a label"


def _masks_can_be_shown(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        for number, label in enumerate(output.labels, start=1):
            for key in ("category", "colour_rgb"):
                if output.kind in MASKED and getattr(label, key) is None:
                    yield f"{where}.labels[{number}].{key} is missing; a segment needs it"


def _widths_fit(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        if output.channels is None:
            continue
        if output.kind == "labels":
            yield f'{where}.channels is given, but kind = "labels" has one channel'
        least = output.model_copy(update={"channels": None}).width
        if output.channels < least:
            yield f"{where}.channels is {output.channels}; the largest value needs {least}"


def _dtype_fits_kind(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        floating = output.dtype.startswith("float")
        if floating == (output.kind == "labels"):
            yield f'{where}.dtype is "{output.dtype}", which cannot hold kind = "{output.kind}"'


def _activation_fits_kind(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        if output.activation != "none" and output.kind in ("labels", "values"):
            yield f'{where}.activation is given, but kind = "{output.kind}" is no probability'
        if output.activation == "softmax" and output.kind == "probability":
            yield f'{where}.activation is "softmax", so the channels exclude each other: kind = "classes"'
        if output.activation == "sigmoid" and output.kind == "classes":
            yield f'{where}.activation is "sigmoid", so each channel stands alone: kind = "probability"'
        if output.activation == "softmax" and output.kind in ("scores", "boxes") and output.width == 1:
            yield f'{where}.activation is "softmax", which makes a single score 1 always'


def _quantities_can_be_given(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        for number, one in enumerate(output.quantities, start=1):
            if one.unit.scheme != UCUM:
                yield f"{where}.quantities[{number}].unit.scheme is {one.unit.scheme!r}; units are UCUM"
            if one.low is not None and one.high is not None and one.low >= one.high:
                yield f"{where}.quantities[{number}].low is {one.low}; it must be less than high ({one.high})"


def _quantities_differ(draft: Draft) -> Faults:
    for where, output in draft.each_output():
        plain = [one.concept.meaning for one in output.quantities if one.finding is None]
        for twice in sorted({meaning for meaning in plain if plain.count(meaning) > 1}):
            yield f"{where}.quantities: {twice!r} is measured more than once; say of what, in finding"


def _steps_find_their_output(draft: Draft) -> Faults:
    if draft.outputs is None:
        return
    for where, step in draft.each_step():
        found = candidates(step, draft.outputs)
        kinds = " or ".join(step.reads)
        if step.output is not None and not found:
            listed = ", ".join(sorted(output.called for output in draft.outputs))
            yield f"{where}.output is {step.output!r}; outputs has {listed}"
        elif step.output is not None and found[0].kind not in step.reads:
            yield f'{where} {step.step} reads {kinds}, but {step.output!r} has kind = "{found[0].kind}"'
        elif not found:
            given = " and ".join(f'{key}.kind is "{output.kind}"' for key, output in draft.each_output())
            yield f"{where} {step.step} reads {kinds}, but {given}"
        elif len(found) > 1:
            listed = ", ".join(output.called for output in found)
            yield f"{where}.output is missing; {step.step} could read {listed}"


def _every_output_is_read(draft: Draft) -> Faults:
    if draft.interpret is None:
        return
    read = [
        output.called for _, step in draft.each_step() for output in candidates(step, draft.outputs or ())
    ]
    for where, output in draft.each_output():
        if len(draft.outputs or ()) > 1 and output.called not in read:
            yield f"{where} {output.called!r} is read by no interpret step"


def _steps_name_known_labels(draft: Draft) -> Faults:
    for where, step in draft.each_step():
        found = candidates(step, draft.outputs or ())
        if len(found) != 1:
            continue
        key = "quantities" if isinstance(step, Measure) else "labels"
        known = {one.name for one in getattr(found[0], key)}
        listed = ", ".join(sorted(known))
        section = next(name for name, output in draft.each_output() if output is found[0])
        for name in _named(step):
            if name not in known:
                what = "quantity" if isinstance(step, Measure) else "label"
                yield f"{where} names the {what} {name!r}; {section}.{key} has {listed}"


def _named(step: InterpretStep) -> tuple[str, ...]:
    if isinstance(step, Components):
        return (step.label,)
    if isinstance(step, Measure):
        return step.quantities or ()
    if isinstance(step, Classify):
        return (*(step.labels or ()), *step.per_label)
    if isinstance(step, ClassMap):
        return (*(step.labels or ()), *step.findings)
    return step.labels or ()


def _abstain_band_holds_threshold(draft: Draft) -> Faults:
    for where, step in draft.each_step():
        if isinstance(step, Components | Detect | Classify):
            fault = band_fault(step.threshold, step.abstain)
            if fault is not None:
                yield f"{where}.abstain {fault}"
        if isinstance(step, Classify):
            for label, by in step.per_label.items():
                fault = band_fault(by.threshold, by.abstain)
                if fault is not None:
                    yield f"{where}.per_label.{label}.abstain {fault}"


def _class_map_claims_agree(draft: Draft) -> Faults:
    for where, step in draft.each_step():
        if not isinstance(step, ClassMap):
            continue
        if not step.findings and (step.volume_ml_min or step.abstain_ml):
            yield f"{where} has limits for findings, but names no label in findings"
        if step.labels is not None and (missing := set(step.findings) - set(step.labels)):
            yield f"{where}.findings names {', '.join(sorted(missing))}, which its labels leave out"
        if step.abstain_ml is not None:
            low, high = step.abstain_ml
            if not low < high or low > step.volume_ml_min or step.volume_ml_min > high:
                yield (
                    f"{where}.abstain_ml is [{low}, {high}]; it must rise and hold "
                    f"volume_ml_min ({step.volume_ml_min})"
                )


def _joined_slices_are_regular(draft: Draft) -> Faults:
    if draft.accepts is None or draft.input is None or draft.input.layout in ("patch", "volume"):
        return
    if draft.accepts.geometry == "regular" or draft.accepts.slices_max == 1:
        return
    for where, step in draft.each_step():
        if isinstance(step, Components):
            yield f'{where} components joins slices: accepts.geometry must be "regular", or slices_max 1'


def _only_flat_boxes_are_linked(draft: Draft) -> Faults:
    if draft.input is None or draft.input.layout not in ("patch", "volume"):
        return
    for where, step in draft.each_step():
        if isinstance(step, Detect) and step.link_iou is not None:
            yield f'{where}.link_iou is given, but boxes of layout = "{draft.input.layout}" are solid already'


def _mapped(draft: Draft) -> Iterator[tuple[str, str, HeatMap]]:
    """Give the key, label and step of every heat map whose output is known."""
    for where, step in draft.each_step():
        if isinstance(step, HeatMap) and len(found := candidates(step, draft.outputs or ())) == 1:
            for label in step.labels or [one.name for one in found[0].labels]:
                yield where, label, step


def _maps_differ(draft: Draft) -> Faults:
    labels = [label for _, label, _ in _mapped(draft)]
    yield from _twice(labels, "interpret: heat-map of the label")
    if len(labels) > MapLimits().maps_max:
        yield f"interpret asks for {len(labels)} heat maps; at most {MapLimits().maps_max} are made"


def _maps_show_what_is_found(draft: Draft) -> Faults:
    for where, label, mapped in _mapped(draft):
        for other, level in _levels(draft, label):
            if mapped.floor > level:
                yield (
                    f"{where}.floor is {mapped.floor}, but {other} draws {label!r} from {level} on; "
                    "the map would be empty there"
                )


def _levels(draft: Draft, label: str) -> Iterator[tuple[str, float]]:
    """Give from which probability on other steps draw a label."""
    for where, step in draft.each_step():
        if isinstance(step, Components) and step.label == label:
            yield where, step.threshold if step.abstain is None else min(step.abstain)
        found = candidates(step, draft.outputs or ())
        if isinstance(step, WriteSegments | ClassMap) and label in (step.labels or [label]) and found:
            # Of classes that exclude each other the largest wins, however small it is.
            yield where, step.threshold if found[0].kind == "probability" else 1 / found[0].width


def _task_has_its_step(draft: Draft) -> Faults:
    wanted = _STEPS_OF_TASK.get(draft.task or "")
    if wanted is None or draft.interpret is None:
        return
    if not any(step.step in wanted for step in draft.interpret):
        yield f'task is "{draft.task}", but no interpret step is {" or ".join(wanted)}'


RULES: tuple[Callable[[Draft], Faults], ...] = (
    _one_way_to_say_outputs,
    _outputs_differ,
    _layout_has_its_kind,
    _kind_has_its_keys,
    _labels_differ,
    _masks_can_be_shown,
    _widths_fit,
    _dtype_fits_kind,
    _activation_fits_kind,
    _quantities_can_be_given,
    _quantities_differ,
    _steps_find_their_output,
    _every_output_is_read,
    _steps_name_known_labels,
    _abstain_band_holds_threshold,
    _class_map_claims_agree,
    _joined_slices_are_regular,
    _only_flat_boxes_are_linked,
    _maps_differ,
    _maps_show_what_is_found,
    _task_has_its_step,
)
