"""A manifest is right as a whole, or says everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from cel_expr_python import cel

from models.catalogue import shipped
from models.labels import Label, Quantity, codes_of
from models.manifest import MANIFEST_BYTES_MAX, ManifestError, load, parse
from models.manifest_outputs import Output
from models.manifest_sections import Accepts, Channel, Input, Resources, Tolerances, Variant
from models.operations.class_map import ClassMap
from models.operations.classify import Classify
from models.operations.components import Components
from models.operations.detect import Detect
from models.operations.heat_map import HeatMap
from models.operations.intensity import Clip, FillPadding, Normalise, Scale, Window
from models.operations.label_maps import LabelStatistics, WriteSegments
from models.operations.measure import Measure
from models.operations.statistics import PercentileWindow, ZScore
from models.operations.strict import Strict
from tests.models import given, kinds

BANDS = (given.BANDS / "manifest.toml").read_text(encoding="utf-8")
LESION = (given.LESION / "manifest.toml").read_text(encoding="utf-8")


def faults_of(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    return caught.value.faults


def bent(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1, f"the manifest no longer holds {old!r}"
    return text.replace(old, new, 1)


def test_shipped_manifests_load() -> None:
    manifests = {path.name: load(path / "manifest.toml") for path in shipped()}
    assert all(manifest.name == folder for folder, manifest in manifests.items())
    assert manifests["ct-phantom-lesion"].steps == {"components", "heat-map"}
    assert manifests["ct-tissue-bands"].steps == {"label-statistics", "segments"}


def test_ten_faults_are_all_reported_at_once() -> None:
    text = LESION
    for old, new in (
        ('version = "1.0.0"', 'version = "one"'),
        ('task = "segmentation"', 'task = "magic"'),
        ('licence = "Apache-2.0"\n', ""),
        ("slices_min = 3", "slices_min = 0"),
        ("overlap = 0.25", "overlap = 1.5"),
        ("batch = 2", "bach = 2"),
        ('step = "clip"', 'step = "clop"'),
        ('dtype = "float32"', 'dtype = "uint8"'),
        ("threshold = 0.5", "threshold = 0.9"),
        ("memory_mib = 1024", 'memory_mib = "much"'),
    ):
        text = bent(text, old, new)
    faults = faults_of(text)
    for words in (
        "version is 'one'",
        "task is 'magic'; it must be 'classification'",
        "licence is missing",
        "accepts.slices_min is 0; it must be 1 or more",
        "input.overlap is 1.5; it must be less than 1",
        "input.bach is not a key this format knows",
        "prepare[2] names the step 'clop'; known steps are 'fill-padding'",
        'output.dtype is "uint8", which cannot hold kind = "probability"',
        "interpret[1].abstain is [0.3, 0.7]",
        "resources.memory_mib is 'much'; it must be a whole number",
    ):
        assert any(fault.startswith(words) for fault in faults), (words, faults)
    assert len(faults) == 10


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("slices_max = 2000", "slices_max = 2", "accepts.slices_max is 2"),
        ('layout = "patch"', 'layout = "volume"', 'input.patch is given, but layout = "volume"'),
        ("patch = [64, 64, 64]\n", "", "input.patch is missing"),
        ('geometry = "regular"', 'geometry = "any"', 'accepts.geometry must be "regular"'),
        ("spacing_mm = [2.0, 2.0, 2.0]\n", "", "prepare names resample, but input.spacing_mm"),
        ('[[prepare]]\nstep = "resample"\n', "", "input.spacing_mm is given, but no prepare step"),
        (
            'step = "resample"',
            'step = "resample"\n[[prepare]]\nstep = "resample"',
            "prepare names resample 2",
        ),
        ("low = -40.0", "low = 200.0", "prepare[2].low is 200.0"),
        ('label = "lesion"', 'label = "tumour"', "interpret[1] names the label 'tumour'"),
        ('kind = "probability"', 'kind = "labels"', 'output.kind is "labels"; with layout = "patch"'),
        (
            'step = "components"\nlabel = "lesion"\nthreshold = 0.5\nabstain = [0.3, 0.7]\n'
            "volume_ml_min = 0.2\nlesions_max = 50",
            'step = "label-statistics"',
            "interpret[1] label-statistics reads labels or classes, but output.kind",
        ),
        ("abstain = [0.3, 0.7]", "abstain = [0.0, 0.7]", "interpret[1].abstain is [0.0, 0.7]"),
    ],
)
def test_sections_must_agree(old: str, new: str, words: str) -> None:
    assert any(fault.startswith(words) for fault in faults_of(bent(LESION, old, new)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "fat"\nvalue = 2', 'name = "air"\nvalue = 2', "output.labels: name 'air' is used more"),
        ('name = "fat"\nvalue = 2', 'name = "fat"\nvalue = 1', "output.labels: value 1 is used more"),
        ("value = 1\n", "value = 0\n", "output.labels: value 0 is kept"),
        ('orientation = "source"', 'orientation = "LPS"', 'input.orientation must be "source"'),
        (
            '[[interpret]]\nstep = "label-statistics"',
            '[[interpret]]\nlabel = 1\n[[interpret]]\nstep = "label-statistics"',
            "interpret[1] has no `step`",
        ),
        ('geometry = "any"', "geometry = nan", "accepts.geometry is nan"),
    ],
)
def test_a_label_map_must_be_told_apart(old: str, new: str, words: str) -> None:
    assert any(fault.startswith(words) for fault in faults_of(bent(BANDS, old, new)))


TEN = """
format = 1
name = "ten-faults"
version = "1.0.0"
task = "classification"
intended_use = "Tests."
regulatory_status = "Not a medical device."
licence = "Apache-2.0"

[accepts]
when = "true"
geometry = "any"

[input]
tensor = "image"
layout = "image"
orientation = "LPS"
units = "HU"
spacing_mm = [1.0, 1.0, 1.0]
size = [224, 224]

[[prepare]]
step = "percentile-window"
low = 99.0
high = 1.0

[[outputs]]
tensor = "mask"
kind = "probability"
dtype = "float32"
activation = "softmax"
[[outputs.labels]]
name = "organ"
value = 0
title = "organ"
type = { value = "1", scheme = "99LOCAL", meaning = "organ" }
colour_rgb = [1, 2, 3]

[[outputs]]
tensor = "number"
kind = "values"
dtype = "int32"
[[outputs.quantities]]
name = "size"
value = 0
title = "size"
concept = { value = "1", scheme = "99LOCAL", meaning = "size" }
unit = { value = "mm", scheme = "SI", meaning = "mm" }
low = 5.0
high = 1.0

[[interpret]]
step = "class-map"
labels = ["organ"]
volume_ml_min = 2.0

[resources]
memory_mib = 1
"""


def test_ten_faults_that_sections_have_with_each_other_are_all_reported() -> None:
    wanted = (
        'input.spacing_mm is given, but layout = "image" takes images of one size in pixels',
        'input.orientation must be "source" for layout = "image"',
        "input.spacing_mm is given, but no prepare step is resample",
        "prepare[1].low is 99.0; it must be less than high (1.0)",
        'outputs[1].activation is "softmax", so the channels exclude each other: kind = "classes"',
        "outputs[1].labels[1].category is missing; a segment needs it",
        'outputs[2].dtype is "int32", which cannot hold kind = "values"',
        "outputs[2].quantities[1].unit.scheme is 'SI'; units are UCUM",
        "outputs[2].quantities[1].low is 5.0; it must be less than high (1.0)",
        "outputs[2] 'number' is read by no interpret step",
        "interpret[1] has limits for findings, but names no label in findings",
        'task is "classification", but no interpret step is classify',
    )
    assert sorted(faults_of(TEN)) == sorted(wanted)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (("scores", "", "classify", "abstain = [0.6, 0.7]"), "interpret[1].abstain is [0.6, 0.7]"),
        (
            ("scores", "", "classify", "[interpret.per_label.b]\nthreshold = 0.3"),
            "interpret[1] names the label 'b'; output.labels has a",
        ),
        (
            ("scores", "", "classify", "[interpret.per_label.a]\nthreshold = 0.3\nabstain = [0.4, 0.5]"),
            "interpret[1].per_label.a.abstain is [0.4, 0.5]",
        ),
        (("scores", 'activation = "softmax"', "classify", ""), 'output.activation is "softmax", which makes'),
        (("scores", "channels = 3", "detect", ""), "interpret[1] detect reads boxes, but output.kind"),
        (("scores", "", "classify", 'output = "z"'), "interpret[1].output is 'z'; outputs has y"),
        (("scores", 'coordinates = "yxyx"', "classify", ""), "output.coordinates is given, but kind"),
        (("boxes", 'box_scores = "s"', "detect", ""), "output.coordinates is missing"),
        (
            ("boxes", 'coordinates = "zyxzyx"\nbox_scores = "s"', "detect", ""),
            "output.coordinates has 6 numbers",
        ),
        (("values", "", "measure", ""), "output.quantities is missing"),
        (("classes", "", "class-map", ""), "output.labels: value 0 is kept"),
        (("probability", "channels = 0", "class-map", ""), "output.channels is 0; it must be 1 or more"),
        (("probability", "", "class-map", 'findings = ["b"]'), "interpret[1] names the label 'b'"),
        (("probability", "", "components", 'label = "a"'), "interpret[1] components joins slices"),
    ],
)
def test_outputs_and_what_reads_them_must_agree(sections: tuple[str, str, str, str], words: str) -> None:
    kind, more, step, parameters = sections
    text = (
        f'task = "measurement"\n{kinds.HEAD}{kinds.ANY}{kinds.SLICE}'
        + kinds.output(kind, f"{more}\n{kinds.labels('a')}")
        + kinds.step(step, parameters)
    )
    assert any(fault.startswith(words) for fault in faults_of(text)), faults_of(text)


def test_one_output_or_several_but_not_both_and_not_none() -> None:
    several = BANDS.replace("[output]", "[[outputs]]").replace("[[output.labels]]", "[[outputs.labels]]")
    assert parse(several).answers == parse(BANDS).answers
    assert parse(several).outputs == parse(several).answers
    none = BANDS[: BANDS.index("[output]")] + BANDS[BANDS.index("[[interpret]]") :]
    assert any(fault.startswith("output is missing; say [output]") for fault in faults_of(none))
    both = BANDS + several[several.index("[[outputs]]") : several.index("[[interpret]]")]
    assert "output and outputs are both given; say [[outputs]] alone" in faults_of(both)


def test_two_outputs_of_one_kind_must_be_named_by_the_steps() -> None:
    def score(name: str) -> str:
        head = f'[[outputs]]\ntensor = "{name}"\nkind = "scores"\ndtype = "float32"\n'
        return head + kinds.labels(name, within="outputs")

    start = f'task = "classification"\n{kinds.HEAD}{kinds.ANY}{kinds.SLICE}{score("s")}{score("t")}'
    faults = faults_of(start + kinds.step("classify"))
    assert "interpret[1].output is missing; classify could read s, t" in faults
    named = start + kinds.step("classify", 'output = "s"') + kinds.step("classify", 'output = "t"')
    assert len(parse(named).answers) == 2


def test_a_variant_names_what_it_was_made_from() -> None:
    section = '\n[variant]\nof = "sha256:{}"\nprecision = "fp16"\ntool = "onnxconverter 1.0"\n'
    variant = parse(BANDS + section.format("0" * 64)).variant
    assert variant is not None
    assert variant.precision == "fp16"
    assert faults_of(BANDS + section.format("0" * 63))[0].startswith("variant.of is 'sha256:000")


def test_every_code_is_given_with_its_key() -> None:
    codes = dict(codes_of(parse(BANDS)))
    assert len(codes) == 10
    assert codes["output.labels[5].type"].meaning == "Bone"


def test_padding_cannot_be_filled_after_resampling() -> None:
    fill = '[[prepare]]\nstep = "fill-padding"\nvalue = -1000.0\n'
    text = bent(bent(LESION, fill, ""), "[output]", f"{fill}\n[output]")
    assert any("fill-padding must stand before resample" in fault for fault in faults_of(text))


def test_not_toml_too_large_and_absent_are_faults(tmp_path: Path) -> None:
    assert "not TOML" in faults_of("name = ")[0]
    path = tmp_path / "manifest.toml"
    with pytest.raises(ManifestError, match="cannot be read"):
        load(path)
    path.write_bytes(b"#" * (MANIFEST_BYTES_MAX + 1))
    with pytest.raises(ManifestError, match="more than"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("image_type", "accepted"),
    [(["ORIGINAL", "PRIMARY", "AXIAL"], True), (["ORIGINAL", "PRIMARY", "LOCALIZER"], False), (None, True)],
)
def test_bands_refuse_a_scout(image_type: list[str] | None, accepted: bool) -> None:
    when = parse(BANDS).accepts.when
    variables = {"Modality": cel.Type.DYN, "ImageType": cel.Type.DYN}
    expression = cel.NewEnv(variables=variables).compile(when)
    answer = expression.eval(data={"Modality": "CT", "ImageType": image_type}).plain_value()
    assert answer is accepted


DOCUMENTED = (
    *(Accepts, Input, Channel, Output, Tolerances, Resources, Variant, Label, Quantity),
    *(FillPadding, Clip, Scale, Window, Normalise, ZScore, PercentileWindow),
    *(LabelStatistics, WriteSegments, ClassMap, Components, Classify, Measure, Detect, HeatMap),
)


@pytest.mark.parametrize("section", DOCUMENTED, ids=lambda section: section.__name__)
def test_every_key_stands_in_the_reference(section: type[Strict]) -> None:
    reference = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[A-Za-z_]+", reference))
    assert [key for key in section.model_fields if key not in words] == []
    if "step" in section.model_fields:
        (name,) = get_args(section.model_fields["step"].annotation)
        assert f"| `{name}` |" in reference
