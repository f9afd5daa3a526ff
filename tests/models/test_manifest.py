"""A manifest is right as a whole, or says everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cel_expr_python import cel

from models.catalogue import shipped
from models.manifest import MANIFEST_BYTES_MAX, ManifestError, load, parse
from tests.models import given

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
    assert manifests["ct-phantom-lesion"].steps == {"components"}
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
