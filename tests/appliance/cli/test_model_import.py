from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.app import app
from models.importing.toml_text import written
from models.package import open_package
from tests.models.importing import networks

ANSWERS: dict[str, Any] = {
    "task": "segmentation",
    "intended_use": "Testing.",
    "regulatory_status": "None.",
    "licence": "Apache-2.0",
    "modality": "CT",
    "axes": "xyz",
    "window": [0, 100],
    "accepts": {"slices_min": 3},
    "input": {"orientation": "RAS", "spacing_mm": [2.0, 1.0, 1.5]},
    "output": {"kind": "classes"},
    "labels": [{"name": "spleen", "value": 1, "type": "78961009 SCT Spleen", "category": "anatomy"}],
}


def _run(*command: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["model", *(str(one) for one in command)], input=typed)


def _answers(folder: Path, **changed: Any) -> Path:
    path = folder / "answers.toml"
    path.write_text(written(ANSWERS | changed), encoding="utf-8")
    return path


def test_a_bare_network_becomes_a_package_that_opens(tmp_path: Path) -> None:
    file = networks.saved_apart(networks.two_classes(), tmp_path / "net.onnx", "net.onnx.data")

    done = _run("import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path))

    assert done.exit_code == 0, done.output
    package = open_package(tmp_path / "out")
    assert package.manifest.input.patch == (4, 6, 8), "the graph's (x, y, z) = (8, 6, 4), turned"
    assert len(package.golden_paths()) == 2
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "synthetic" in card
    assert "net.onnx.data" in card
    assert _run("check", tmp_path / "out").exit_code == 0


def test_without_answers_everything_missing_is_listed(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", file, "--out", tmp_path / "out")

    assert done.exit_code == 2
    for key in ("task", "intended_use", "licence", "modality", "axes", "window", "output.kind", "labels"):
        assert f"  {key}: " in done.output
    assert not (tmp_path / "out").exists()
    told = json.loads(_run("import", file, "--out", tmp_path / "out", "--json").stdout)
    assert told["ok"] is False
    assert "input.orientation" in told["unanswered"]


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"window": [1]}, "window must be"),
        ({"axes": "zxy"}, "axes is 'zxy'"),
        ({"input": 5}, "input must be a table"),
        ({"labels": [1]}, "labels must be a list of tables"),
        ({"output": "pred"}, "output must be a table"),
        (
            {"labels": [{"name": "a", "value": "b", "type": "78961009 SCT Spleen", "category": "anatomy"}]},
            "value",
        ),
        ({"prepare": [{"step": "sharpen"}]}, "sharpen"),
    ],
)
def test_answers_of_the_wrong_kind_are_faults(wrong: dict[str, Any], fault: str, tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path, **wrong))

    assert done.exit_code == 2
    assert fault in done.output
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_in_whole_sentences(tmp_path: Path) -> None:
    networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", tmp_path / "net.onnx", "--out", tmp_path / "net")

    assert done.exit_code == 2
    assert "  window: " in done.output
    assert "leave this out and write [[prepare]] steps as a manifest has them." in done.output


def test_the_questions_can_be_printed_and_are_toml(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", file, "--questions")

    assert done.exit_code == 0
    assert tomllib.loads(done.stdout)["name"] == "net"
    assert "# task = " in done.stdout
    assert _run("import", file, "--questions", "--answers", _answers(tmp_path)).stdout.count("# ") < 10


def test_wrong_answers_are_all_reported(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")
    label = ANSWERS["labels"][0] | {"value": 900}

    done = _run(
        "import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path, name="A B", labels=[label])
    )

    assert done.exit_code == 2
    assert "name is 'A B'" in done.output
    assert "labels[1].value" in done.output


def test_an_answer_no_manifest_knows_is_refused(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path, lisence="MIT"))

    assert done.exit_code == 2
    assert "lisence is not something a manifest says" in done.output


def test_somebodys_folder_is_not_written_over(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")

    done = _run("import", file, "--out", tmp_path, "--answers", _answers(tmp_path))

    assert done.exit_code == 2
    assert "not empty" in done.output


def test_weights_outside_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    file = networks.saved_apart(networks.two_classes(), folder / "net.onnx", "net.data")
    (tmp_path / "net.data").write_bytes((folder / "net.data").read_bytes())
    (folder / "net.data").unlink()
    (folder / "net.data").symlink_to(tmp_path / "net.data")

    done = _run("import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path))

    assert done.exit_code == 1
    assert "outside the network's own folder" in done.output


def test_code_that_means_something_else_is_found(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")
    label = ANSWERS["labels"][0] | {"type": "10200004 SCT Spleen"}

    done = _run("import", file, "--out", tmp_path / "out", "--answers", _answers(tmp_path, labels=[label]))

    assert done.exit_code == 1
    assert "10200004 SCT means 'Liver'" in done.output


def test_a_code_that_nobody_here_knows_is_to_be_made_sure_of(tmp_path: Path) -> None:
    file = networks.saved(networks.two_classes(), tmp_path / "net.onnx")
    label = ANSWERS["labels"][0] | {"type": "138875005 SCT Concept of the house"}
    answers = _answers(tmp_path, labels=[label])

    done = _run("import", file, "--out", tmp_path / "out", "--answers", answers)

    assert done.exit_code == 0, done.output
    assert "Concept of the house) is not among the codes that DICOM lists" in done.output


def test_at_a_terminal_the_open_points_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.cli.model_import.at_a_terminal", lambda answers: answers is None)
    file = networks.saved(networks.scores(1), tmp_path / "net.onnx")
    typed = [
        "",  # the name that is offered
        "2.0.0",
        "classification",
        "Testing.",
        "None.",
        "Apache-2.0",
        "DX",
        "yx",
        "[oops",  # no TOML: asked again
        "[]",
        "sigmoid",
        "nodule",
        "0",
        "",  # no more labels
        "27925004 SCT Nodule",
    ]

    done = _run("import", file, "--out", tmp_path / "out", typed="\n".join(typed) + "\n")

    assert done.exit_code == 0, done.output
    manifest = open_package(tmp_path / "out").manifest
    assert (manifest.name, manifest.version, manifest.task) == ("net", "2.0.0", "classification")
    assert manifest.answers[0].activation == "sigmoid"
    assert manifest.answers[0].labels[0].type.value == "27925004"


def _bundle(folder: Path, before: Sequence[dict[str, Any]] = ()) -> Path:
    shape: dict[str, Any] = {"spatial_shape": [8, 6, 4], "dtype": "float32", "is_patch_data": True}
    given = shape | {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1}
    named = {"0": "background", "1": "spleen"}
    answer = shape | {"type": "image", "format": "segmentation", "num_channels": 2, "channel_def": named}
    metadata = {
        "version": "0.2.0",
        "intended_use": "Testing only.",
        "network_data_format": {"inputs": {"image": given}, "outputs": {"pred": answer}},
    }
    orientation = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
    inference = {
        "preprocessing": {"_target_": "Compose", "transforms": [orientation, *before]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 6, 4], "mode": "gaussian"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
        },
    }
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    networks.saved(networks.two_classes(), folder / "models" / "model.onnx")
    return folder


def _bundle_answers(folder: Path) -> Path:
    path = folder / "answers.toml"
    label = {"value": 1, "type": "78961009 SCT Spleen", "category": "anatomy"}
    answers = {
        "regulatory_status": "None.",
        "licence": "MIT",
        "accepts": {"slices_min": 3},
        "labels": [label],
    }
    path.write_text(written(answers), encoding="utf-8")
    return path


def test_a_bundle_becomes_a_package(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path / "spleen_ct")

    done = _run("import-monai", bundle, "--out", tmp_path / "out", "--answers", _bundle_answers(tmp_path))

    assert done.exit_code == 0, done.output
    manifest = open_package(tmp_path / "out").manifest
    assert manifest.name == "spleen-ct"
    assert manifest.intended_use == "Testing only."
    assert manifest.input.patch == (4, 6, 8)
    assert manifest.answers[0].labels[0].name == "spleen"
    assert "with a difference: SlidingWindowInferer" in done.output


def test_what_a_bundle_cannot_say_is_asked(tmp_path: Path) -> None:
    done = _run("import-monai", _bundle(tmp_path / "b"), "--out", tmp_path / "out")

    assert done.exit_code == 2
    assert "labels[1].type" in done.output
    assert "intended_use" not in done.output


def test_a_spacing_that_is_python_is_asked(tmp_path: Path) -> None:
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": "$[1.0] * 3"}
    window = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 9}
    bundle, answers = _bundle(tmp_path / "b", [spacing, window]), _bundle_answers(tmp_path)

    unsaid = _run("import-monai", bundle, "--out", tmp_path / "out", "--answers", answers)
    answers.write_text(
        answers.read_text(encoding="utf-8").replace(
            "[accepts]", "[input]\nspacing_mm = [1, 1, 1]\n[accepts]"
        ),
        encoding="utf-8",
    )
    done = _run(
        *("import-monai", bundle, "--out", tmp_path / "out", "--answers", answers),
        *("--accept-missing", "Spacingd"),
    )

    assert unsaid.exit_code == 2
    assert "input.spacing_mm" in unsaid.output
    assert done.exit_code == 0, done.output
    manifest = open_package(tmp_path / "out").manifest
    assert [step.step for step in manifest.prepare] == ["resample", "scale"]


def test_what_cannot_be_expressed_fails_until_it_is_accepted_by_name(tmp_path: Path) -> None:
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "margin": 7}
    bundle, answers = _bundle(tmp_path / "b", [crop]), _bundle_answers(tmp_path)

    refused = _run("import-monai", bundle, "--out", tmp_path / "one", "--answers", answers)
    accepted = _run(
        *("import-monai", bundle, "--out", tmp_path / "two", "--answers", answers),
        *("--accept-missing", "CropForegroundd", "--json"),
    )

    assert refused.exit_code == 1
    assert "not imported: CropForegroundd(keys='image', source_key='image', margin=7)" in refused.output
    assert accepted.exit_code == 0
    (missing,) = json.loads(accepted.stdout)["missing"]
    assert missing["name"] == "CropForegroundd"
    for folder in ("one", "two"):
        text = (tmp_path / folder / "NOT_IMPORTED.md").read_text(encoding="utf-8")
        assert "## CropForegroundd" in text
        assert "margin=7" in text


def test_a_bundle_without_a_network_says_how_to_give_one(tmp_path: Path) -> None:
    bundle, answers = _bundle(tmp_path / "b"), _bundle_answers(tmp_path)
    (bundle / "models" / "model.onnx").rename(tmp_path / "net.onnx")

    without = _run("import-monai", bundle, "--out", tmp_path / "out", "--answers", answers)
    given = _run(
        *("import-monai", bundle, "--onnx", tmp_path / "net.onnx"),
        *("--out", tmp_path / "out", "--answers", answers),
    )

    assert without.exit_code == 2
    assert "--onnx" in without.output
    assert given.exit_code == 0, given.output


def test_a_bundle_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    absent, empty = _run("import-monai", tmp_path / "no"), _run("import-monai", tmp_path)

    assert (absent.exit_code, empty.exit_code) == (1, 1)
    assert "no: there is no such folder" in absent.output
    assert "configs/metadata.json: is missing" in empty.output
