"""Networks that see slices or images: each task, back on source pixels, honest about its doubts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models import codes
from models.analysis import AnswerError, NotAccepted, analyse, ask_ahead, goes_ahead
from models.findings import Findings, Outcome, Verdict
from models.tensors import Volume
from tests.models import given, kinds

SCORES = kinds.output("scores", kinds.labels("effusion", "nodule"))
BOXES = kinds.output(
    "boxes",
    'coordinates = "xyxy"\nbox_scores = "s"\nbox_labels = "l"\n' + kinds.labels("nodule", "mass", first=1),
)


def volume(slices: int = 3, rows: int = 16, columns: int = 24, **changed: Any) -> Volume:
    voxels = np.random.default_rng(5).integers(-100, 100, size=(slices, rows, columns)).astype(float)
    return given.volume(voxels, **changed)


def constant(**answers: Any) -> Callable[[Any], dict[str, Any]]:
    """A network that answers the same for every image."""

    def infer(fed: Any) -> dict[str, Any]:
        count = len(fed["x"])
        return {
            name: np.stack([np.asarray(value, dtype=np.int64 if name == "l" else np.float32)] * count)
            for name, value in answers.items()
        }

    return infer


def classified(*rows: tuple[float, float], extra: str = "") -> Findings:
    package = kinds.package("classification", kinds.ANY, kinds.SLICE, SCORES, kinds.step("classify", extra))
    waiting = list(rows)
    return analyse(package, volume(len(rows)), lambda fed: {"y": np.array([waiting.pop(0)], np.float32)})


@pytest.mark.parametrize(
    ("rows", "extra", "outcome", "verdicts"),
    [
        ([(0.9, 0.1)], "", Outcome.FINDING, [Verdict.PRESENT, Verdict.ABSENT]),
        ([(0.2, 0.1)], "", Outcome.NO_FINDING, [Verdict.ABSENT, Verdict.ABSENT]),
        ([(0.2, 0.45)], "abstain = [0.4, 0.6]", Outcome.ABSTAINED, [Verdict.ABSENT, Verdict.ABSTAINED]),
        ([(0.9, 0.45)], "abstain = [0.4, 0.6]", Outcome.FINDING, [Verdict.PRESENT, Verdict.ABSTAINED]),
        ([(0.6, 0.1)], "abstain = [0.4, 0.6]", Outcome.FINDING, [Verdict.PRESENT, Verdict.ABSENT]),
        ([(0.9, 0.1), (0.0, 0.0)], 'pool = "mean"', Outcome.NO_FINDING, [Verdict.ABSENT] * 2),
        ([(0.9, 0.1), (0.0, 0.0)], 'pool = "max"', Outcome.FINDING, [Verdict.PRESENT, Verdict.ABSENT]),
        (
            [(0.2, 0.35)],
            "[interpret.per_label.nodule]\nthreshold = 0.3",
            Outcome.FINDING,
            [Verdict.ABSENT, Verdict.PRESENT],
        ),
        ([(0.9, 0.1)], 'claim = "none"', Outcome.MEASURED, [Verdict.PRESENT, Verdict.ABSENT]),
        ([(0.9, 0.1)], 'labels = ["nodule"]', Outcome.NO_FINDING, [Verdict.ABSENT]),
    ],
)
def test_scores_become_verdicts(rows: Any, extra: str, outcome: Outcome, verdicts: list[Verdict]) -> None:
    findings = classified(*rows, extra=extra)
    assert findings.outcome is outcome
    assert [one.verdict for one in findings.classifications] == verdicts
    assert all(one.label in findings.statement for one in findings.classifications)


def test_what_is_uncertain_is_said_beside_what_is_found() -> None:
    findings = classified((0.9, 0.45), extra="abstain = [0.4, 0.6]")
    assert findings.statement == (
        "Present: effusion (probability 0.90). "
        "Uncertain: nodule (probability 0.45); the model neither confirms nor excludes."
    )


@pytest.mark.parametrize("bad", [1.2, -0.1, np.nan, np.inf])
def test_what_is_no_probability_is_an_error(bad: float) -> None:
    with pytest.raises(AnswerError, match=r"outside 0 to 1|not finite"):
        classified((bad, 0.1))


def test_scores_before_their_activation_are_activated() -> None:
    outputs = kinds.output("scores", 'activation = "softmax"\n' + kinds.labels("normal", "ill"))
    package = kinds.package(
        "classification", kinds.ANY, kinds.SLICE, outputs, kinds.step("classify", 'labels = ["ill"]')
    )
    (one,) = analyse(package, volume(1), constant(y=[0.0, 3.0])).classifications
    assert one.probability == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)


def test_boxes_go_back_to_source_pixels_exactly() -> None:
    package = kinds.package("detection", kinds.ANY, kinds.IMAGE, BOXES, kinds.step("detect"))
    seen: list[tuple[int, ...]] = []

    def infer(fed: Any) -> dict[str, Any]:
        seen.append(fed["x"].shape)
        return constant(y=[[3.0, 2.0, 6.0, 4.0]], s=[0.9], l=[2])(fed)

    findings = analyse(package, volume(3, rows=16, columns=24), infer)
    assert seen == [(2, 1, 8, 12), (1, 1, 8, 12)]
    assert findings.outcome is Outcome.FINDING
    assert [one.box for one in findings.detections] == [(4.0, 6.0, 8.0, 12.0)] * 3
    assert [one.kind for one in findings.detections] == ["mass"] * 3
    assert sorted(one.slice_index for one in findings.detections) == [0, 1, 2]
    sides = {one.name.meaning: one.value for one in findings.detections[0].measurements}
    assert sides == {"Probability": pytest.approx(0.9), "Width": 6.0, "Height": 4.0}


def test_a_network_whose_boxes_only_say_where_gives_points() -> None:
    step = kinds.step("detect", 'place = "point"')
    package = kinds.package("detection", kinds.ANY, kinds.IMAGE, BOXES, step)
    found = analyse(
        package, volume(1, rows=16, columns=24), constant(y=[[3.0, 2.0, 6.0, 4.0]], s=[0.9], l=[2])
    )
    (one,) = found.detections
    assert one.is_point
    assert one.box == (6.0, 9.0, 6.0, 9.0)
    # A point has no sides.
    assert [m.name for m in one.measurements] == [codes.PROBABILITY]


@pytest.mark.parametrize(
    ("source", "drawn", "back", "padding"),
    [
        ((16, 24), (2.0, 3.0, 4.0, 6.0), (4.0, 6.0, 8.0, 12.0), 0.0),
        ((24, 12), (0.0, 4.0, 8.0, 8.0), (0.0, 0.0, 24.0, 12.0), 2 / 3),
        ((10, 60), (3.0, 0.0, 5.0, 12.0), (0.0, 0.0, 10.0, 60.0), 3 / 4),
    ],
)
def test_a_padded_image_keeps_its_shape_and_boxes_lose_the_padding(
    source: tuple[int, int], drawn: tuple[float, ...], back: tuple[float, ...], padding: float
) -> None:
    outputs = kinds.output("boxes", 'coordinates = "yxyx"\nbox_scores = "s"\n' + kinds.labels("nodule"))
    package = kinds.package(
        "detection", kinds.ANY, kinds.IMAGE + 'fit = "pad"\npad_value = -7\n', outputs, kinds.step("detect")
    )
    fed: list[Any] = []

    def infer(given_: Any) -> dict[str, Any]:
        fed.append(given_["x"])
        return constant(y=[drawn], s=[[0.9]])(given_)

    (one,) = analyse(package, volume(1, *source), infer).detections
    assert one.box == pytest.approx(back)
    assert float((fed[0] == -7).mean()) == pytest.approx(padding)


def test_boxes_before_their_corners_and_shares_are_read() -> None:
    outputs = kinds.output(
        "boxes", 'coordinates = "cxcywh"\nscale = "share"\nbox_scores = "s"\n' + kinds.labels("nodule")
    )
    package = kinds.package("detection", kinds.ANY, kinds.IMAGE, outputs, kinds.step("detect"))
    (one,) = analyse(package, volume(1), constant(y=[[0.5, 0.5, 0.25, 0.5]], s=[0.8])).detections
    assert one.box == pytest.approx((4.0, 9.0, 12.0, 15.0))


def test_overlapping_boxes_are_one_and_other_labels_stay() -> None:
    package = kinds.package("detection", kinds.ANY, kinds.IMAGE, BOXES, kinds.step("detect", "nms_iou = 0.4"))
    boxes = [[0, 0, 4, 4], [0, 0, 4, 3], [0, 0, 4, 4], [8, 4, 10, 6], [20, 20, 30, 30]]
    findings = analyse(
        package, volume(1), constant(y=boxes, s=[0.6, 0.9, 0.7, 0.55, 0.99], l=[1, 1, 2, 1, 1])
    )
    assert [(one.kind, round(one.probability, 2)) for one in findings.detections] == [
        ("nodule", 0.9),
        ("mass", 0.7),
        ("nodule", 0.55),
    ]
    assert [one.label for one in findings.detections] == ["1", "2", "3"]
    assert findings.statement == "2 nodules and 1 mass found (highest probability 0.90)."


def test_boxes_over_neighbouring_slices_are_one_object() -> None:
    package = kinds.package(
        "detection", kinds.ANY, kinds.SLICE, BOXES, kinds.step("detect", "link_iou = 0.3\nboxes_max = 5")
    )
    scores = [0.6, 0.9, 0.7, 0.0, 0.8]
    waiting = list(scores)

    def infer(fed: Any) -> dict[str, Any]:
        return constant(y=[[4, 4, 9, 9]], s=[waiting.pop(0)], l=[1])(fed)

    findings = analyse(package, volume(5), infer)
    assert [(one.slice_range, one.slice_index) for one in findings.detections] == [
        (range(3), 1),
        (range(4, 5), 4),
    ]


@pytest.mark.parametrize(
    ("score", "outcome", "shown"),
    [(0.3, Outcome.NO_FINDING, 0), (0.45, Outcome.ABSTAINED, 1), (0.65, Outcome.FINDING, 1)],
)
def test_a_doubtful_box_is_shown_and_never_a_negative(score: float, outcome: Outcome, shown: int) -> None:
    package = kinds.package(
        "detection", kinds.ANY, kinds.IMAGE, BOXES, kinds.step("detect", "abstain = [0.4, 0.6]")
    )
    findings = analyse(package, volume(1), constant(y=[[0, 0, 4, 4]], s=[score], l=[1]))
    assert findings.outcome is outcome
    assert len(findings.detections) == shown
    if outcome is Outcome.NO_FINDING:
        assert findings.statement == "No nodule or mass found."


def test_no_boxes_at_all_and_boxes_without_a_batch_axis() -> None:
    one_at_a_time = kinds.IMAGE.replace("batch = 2", "batch = 1")
    package = kinds.package("detection", kinds.ANY, one_at_a_time, BOXES, kinds.step("detect"))
    empty: dict[str, Any] = {
        "y": np.zeros((0, 4), np.float32),
        "s": np.zeros(0, np.float32),
        "l": np.zeros(0, np.int64),
    }
    assert analyse(package, volume(2), lambda fed: empty).outcome is Outcome.NO_FINDING
    one: dict[str, Any] = {
        "y": np.array([[0, 0, 3, 4]], np.float32),
        "s": np.array([0.9], np.float32),
        "l": np.array([1], np.int64),
    }
    assert len(analyse(package, volume(2), lambda fed: one).detections) == 2
    with pytest.raises(AnswerError, match="different numbers"):
        analyse(package, volume(2), lambda fed: one | {"s": np.zeros(3, np.float32)})


def test_a_radiograph_has_boxes_and_no_millimetres() -> None:
    radiograph = volume(1, slice_spacing_mm=0.0, modality="DX", units="")
    package = kinds.package(
        "detection", kinds.ANY, kinds.IMAGE.replace('"HU"', '""'), BOXES, kinds.step("detect")
    )
    (one,) = analyse(package, radiograph, constant(y=[[0, 0, 6, 4]], s=[0.9], l=[1])).detections
    assert [item.name for item in one.measurements] == [codes.PROBABILITY]
    with pytest.raises(NotAccepted, match="needs no unit"):
        analyse(package, volume(1), constant())


def test_regions_of_a_radiograph_are_lesions_without_sizes() -> None:
    radiograph = volume(1, slice_spacing_mm=0.0, modality="CR", units="")
    package = kinds.package(
        "segmentation",
        kinds.ANY + "slices_max = 1\n",
        kinds.IMAGE.replace('"HU"', '""'),
        kinds.output("probability", 'activation = "sigmoid"\n' + kinds.labels("nodule")),
        kinds.step("components", 'label = "nodule"\nvoxels_min = 4'),
    )
    field = np.full((1, 8, 12), -9.0)
    field[0, 2:5, 3:6] = 9.0
    findings = analyse(package, radiograph, constant(y=field))
    (lesion,) = findings.lesions
    assert lesion.origin == (0, 4, 6)
    assert lesion.component.shape == (1, 6, 6)
    assert [one.name for one in lesion.measurements] == [codes.PROBABILITY]
    assert findings.statement == "1 nodule found (probability 1.00)."


def test_numbers_are_coded_and_what_is_not_plausible_is_withheld() -> None:
    quantities = "".join(
        f'[[output.quantities]]\nname = "{name}"\nvalue = {value}\ntitle = "{name}"\nlow = 0\nhigh = 240\n'
        f"finding = {kinds.LESION}\n"
        'concept = { value = "118565006", scheme = "SCT", meaning = "Volume" }\n'
        'unit = { value = "mL", scheme = "UCUM", meaning = "milliliter" }\n'
        for value, name in enumerate(("left", "right"))
    )
    package = kinds.package(
        "measurement", kinds.ANY, kinds.IMAGE, kinds.output("values", quantities), kinds.step("measure")
    )
    findings = analyse(package, volume(2), constant(y=[12.5, 90.0]))
    assert findings.outcome is Outcome.MEASURED
    assert [(one.value, one.unit.value) for one in findings.measurements] == [(12.5, "mL"), (90.0, "mL")]
    assert [one.segment for one in findings.measurements] == ["left", "right"]
    assert findings.statement == "Measured: left 12.5 mL, right 90 mL."
    doubtful = analyse(package, volume(2), constant(y=[12.5, 900.0]))
    assert doubtful.outcome is Outcome.ABSTAINED
    assert len(doubtful.withheld) == 1
    assert "900" not in doubtful.statement + doubtful.withheld[0].reason


def test_a_mask_and_a_score_from_one_network() -> None:
    outputs = (
        '[[outputs]]\nname = "mask"\ntensor = "m"\nkind = "classes"\ndtype = "float32"\n'
        + kinds.labels("liver", "cyst", first=1, within="outputs")
        + '[[outputs]]\nname = "score"\ntensor = "y"\nkind = "scores"\ndtype = "float32"\n'
        + kinds.labels("steatosis", within="outputs")
    )
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        kinds.IMAGE,
        outputs,
        kinds.step("class-map", 'findings = ["cyst"]'),
        kinds.step("classify", "abstain = [0.4, 0.6]"),
    )
    field = np.zeros((3, 8, 12))
    field[0] = 1.0
    field[1, 2:4, 3:6] = 2.0
    findings = analyse(package, volume(2), constant(m=field, y=[0.5]))
    assert findings.outcome is Outcome.ABSTAINED
    assert [segment.label for segment in findings.segments] == ["liver"]
    assert findings.segments[0].mask.sum() == 2 * 4 * 6
    volumes = {one.segment: one.value for one in findings.measurements}
    assert volumes == {"liver": pytest.approx(48 * 2 / 1000), "cyst": 0.0}
    assert findings.statement.startswith("Not found: cyst. Outlined: liver (0.1 mL). Uncertain: steatosis")


def test_a_label_map_of_a_resized_image_takes_the_nearest_and_no_padding() -> None:
    package = kinds.package(
        "segmentation",
        kinds.ANY,
        kinds.IMAGE,
        kinds.output("labels", kinds.labels("a", "b", first=1), dtype="uint8"),
        kinds.step("segments", 'labels = ["a", "b"]'),
    )
    labels = np.ones((1, 8, 12), dtype=np.uint8)
    labels[0, :, 6:] = 2
    valid = np.ones((1, 16, 24), dtype=np.bool_)
    valid[0, 0] = False
    findings = analyse(package, volume(1, valid=valid), lambda fed: {"y": labels[None]})
    a, b = findings.segments
    assert not a.mask[0, 0].any()
    assert a.mask[0, 1:, :12].all()
    assert b.mask[0, 1:, 12:].all()
    assert int(a.mask.sum() + b.mask.sum()) == 15 * 24
    assert findings.statement == "Outlined: a, b. No finding is claimed."


def test_channels_are_windows_of_the_same_slice_and_statistics_are_of_the_whole_series() -> None:
    channels = (
        '[[channels]]\nname = "brain"\nprepare = [{ step = "window", centre = 40, width = 80 }]\n'
        '[[channels]]\nname = "z"\nprepare = [{ step = "z-score" }]\n'
        '[[channels]]\nname = "each"\n'
        'prepare = [{ step = "percentile-window", low = 0, high = 100, per = "slice" }]\n'
    )
    package = kinds.package(
        "classification", kinds.ANY, kinds.SLICE, channels, SCORES, kinds.step("classify")
    )
    series = volume(4)
    fed: list[Any] = []

    def infer(given_: Any) -> dict[str, Any]:
        fed.append(given_["x"])
        return constant(y=[0.1, 0.1])(given_)

    analyse(package, series, infer)
    brain, z, each = np.moveaxis(np.concatenate(fed), 1, 0)
    assert brain == pytest.approx(np.clip(series.voxels / 80, 0, 1), abs=1e-6)
    assert z == pytest.approx((series.voxels - series.voxels.mean()) / series.voxels.std(), abs=1e-4)
    assert [(one.min(), one.max()) for one in each] == [pytest.approx((0, 1), abs=1e-6)] * 4


def banded(series: Volume) -> Findings:
    """Label 1 everywhere, measured."""
    package = kinds.package(
        "measurement",
        kinds.ANY,
        kinds.SLICE.replace('"HU"', f'"{series.units}"'),
        kinds.output("labels", kinds.labels("all", first=1), dtype="uint8"),
        kinds.step("label-statistics"),
    )
    return analyse(package, series, lambda fed: {"y": np.ones(fed["x"].shape, dtype=np.uint8)})


def test_values_are_named_by_what_they_are_and_withheld_where_they_are_nothing() -> None:
    assert codes.ATTENUATION in [one.name for one in banded(volume()).measurements]
    mr = banded(volume(modality="MR", units=""))
    mean = next(one for one in mr.measurements if one.derivation == codes.MEAN)
    assert (mean.name, mean.unit) == (codes.MR_SIGNAL_INTENSITY, codes.NO_UNITS)
    radiograph = banded(volume(1, modality="DX", units=""))
    assert radiograph.measurements == ()
    reasons = {one.name.meaning: one.reason for one in radiograph.withheld}
    assert "no depth" in reasons["Volume"]
    assert any("no unit" in reason for reason in reasons.values())


def test_a_series_of_radiographs_of_another_unit_is_refused_before_the_network_runs() -> None:
    package = kinds.package("classification", kinds.ANY, kinds.SLICE, SCORES, kinds.step("classify"))
    with pytest.raises(NotAccepted, match="no known unit; the model needs HU"):
        analyse(package, volume(units=""), constant())


TWO = kinds.SLICE + "batch = 2\n"
Z_SCORE = '[[prepare]]\nstep = "z-score"\nper = "{}"\n'
TISSUES = kinds.output(
    "classes", 'activation = "softmax"\nchannels = 3\n' + kinds.labels("bone", "fat", first=1)
)
KINDS = {
    "labels": (
        "segmentation",
        kinds.output("labels", kinds.labels("bone", first=1), dtype="uint8"),
        kinds.step("segments", 'labels = ["bone"]'),
    ),
    "classes": ("segmentation", TISSUES, kinds.step("class-map", 'labels = ["bone", "fat"]')),
    "regions": ("segmentation", TISSUES, kinds.step("components", 'label = "bone"')),
    "scores": ("classification", SCORES, kinds.step("classify")),
}


def pixelwise(kind: str) -> Callable[[Any], dict[str, Any]]:
    """A network whose answer to a slice depends on its pixels alone."""

    def infer(fed: Any) -> dict[str, Any]:
        image = fed["x"]
        if kind == "labels":
            return {"y": (image > 0).astype(np.uint8)}
        if kind == "scores":
            means = image.mean(axis=(1, 2, 3))
            return {
                "y": np.stack([1 / (1 + np.exp(-means)), np.full(len(image), 0.2)], axis=1, dtype=np.float32)
            }
        return {"y": np.concatenate([np.zeros_like(image), image / 50, -image / 70], axis=1)}

    return infer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prepared", ["", Z_SCORE.format("slice")])
def test_batches_that_were_asked_about_ahead_change_nothing_of_the_findings(kind: str, prepared: str):
    task, output, step = KINDS[kind]
    package = kinds.package(task, kinds.REGULAR, TWO, prepared, output, step)
    series, infer = volume(5), pixelwise(kind)
    assert goes_ahead(package.manifest)
    ahead = {first: ask_ahead(package.manifest, part(series, first, 2), infer) for first in (0, 2)}
    asked: list[int] = []

    def counted(fed: Any) -> dict[str, Any]:
        asked.append(len(fed["x"]))
        return infer(fed)

    plain = analyse(package, series, infer)
    for _ in range(2):  # what is known may be read more than once
        same_findings(plain, analyse(package, series, counted, known=ahead.get))
    assert asked == [1, 1]


def part(series: Volume, first: int, count: int) -> Volume:
    part = slice(first, first + count)
    return replace(
        series, voxels=series.voxels[part], valid=series.valid[part], positions=series.positions[part]
    )


def same_findings(one: Findings, other: Findings) -> None:
    assert (one.outcome, one.statement, one.measurements) == (
        other.outcome,
        other.statement,
        other.measurements,
    )
    assert one.classifications == other.classifications
    assert [lesion.measurements for lesion in one.lesions] == [
        lesion.measurements for lesion in other.lesions
    ]
    assert len(one.segments) == len(other.segments)
    for mine, theirs in zip(one.segments, other.segments, strict=True):
        assert np.array_equal(mine.mask, theirs.mask)


def test_what_is_asked_ahead_may_not_be_changed_and_outlives_the_engine_s_memory():
    package = kinds.package("classification", kinds.ANY, TWO, SCORES, kinds.step("classify"))
    memory = np.full((4, 2), 0.5, np.float32)
    answers = ask_ahead(package.manifest, volume(2), lambda _fed: {"y": memory[:2]})
    memory[:] = 0.0
    assert (answers["y"] == 0.5).all()
    with pytest.raises(ValueError, match="read-only"):
        answers["y"][0] = 1.0


@pytest.mark.parametrize(
    ("sections", "can"),
    [
        ((TWO,), True),
        ((kinds.IMAGE,), True),
        ((TWO, Z_SCORE.format("slice")), True),
        ((TWO, Z_SCORE.format("series")), False),
    ],
)
def test_a_network_whose_slices_need_the_whole_series_is_not_asked_ahead(
    sections: tuple[str, ...], can: bool
):
    package = kinds.package("classification", kinds.ANY, *sections, SCORES, kinds.step("classify"))
    assert goes_ahead(package.manifest) == can


def test_a_network_that_sees_patches_is_not_asked_ahead():
    patches = kinds.manifest(
        "segmentation",
        kinds.REGULAR,
        kinds.PATCH,
        kinds.output("probability", kinds.labels("lesion")),
        kinds.step("components", 'label = "lesion"'),
    )
    assert not goes_ahead(patches)
