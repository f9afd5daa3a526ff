"""A classifier of radiographs comes as a bare ONNX file, with its weights beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.inference.cpu import OnnxRuntimeCpu
from models.analysis import analyse
from models.importing.toml_text import written
from models.package import open_package
from tests.models import given
from tests.networks import environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
Array = NDArray[Any]
_CHILD = Path(__file__).with_name("classifier_child.py")
_ROWS, _COLUMNS, _IMAGES = 64, 96, 3
_LABELS = (
    {"name": "nodule", "value": 0, "type": "27925004 SCT Nodule"},
    {"name": "effusion", "value": 1, "type": "60046008 SCT Pleural effusion"},
    {"name": "pneumothorax", "value": 2, "type": "36118008 SCT Pneumothorax"},
)
_ANSWERS: dict[str, Any] = {
    "task": "classification",
    "intended_use": "Random weights, for testing only.",
    "regulatory_status": "None.",
    "licence": "Apache-2.0",
    "modality": "DX",
    "axes": "xy",
    "output": {"activation": "sigmoid"},
    "labels": list(_LABELS),
    "prepare": [{"step": "percentile-window", "low": 0, "high": 100, "clip": False, "per": "slice"}],
}


def test_densenet_gives_the_same_here_as_in_pytorch(tmp_path: Path, capsys) -> None:
    images = _images()
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "answers.toml").write_text(written(_ANSWERS), encoding="utf-8")
    environment.child(_CHILD, str(tmp_path))
    reference = np.load(tmp_path / "reference.npz")
    assert (tmp_path / "network.onnx.data").is_file(), "the exporter is expected to put the weights apart"
    command = ["model", "import", str(tmp_path / "network.onnx"), "--out", str(tmp_path / "package")]
    done = CliRunner().invoke(app, [*command, "--answers", str(tmp_path / "answers.toml")])
    assert done.exit_code == 0, done.output
    package = open_package(tmp_path / "package")
    assert package.manifest.input.size == (_ROWS, _COLUMNS)
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(package))
    said: list[Array] = []

    def infer(batch: Mapping[str, Array]) -> Mapping[str, Array]:
        answers = engine.infer(batch, deadline_seconds=100)
        said.append(answers["logits"])
        return answers

    findings = analyse(package, given.volume(images, modality="DX", units=""), infer)
    engine.unload()

    largest = float(np.abs(np.concatenate(said) - reference["raw"]).max())
    found = np.array([one.probability for one in findings.classifications])
    apart = float(np.abs(found - reference["probabilities"].max(axis=0)).max())
    with capsys.disabled():
        reach = float(np.abs(reference["raw"]).max())
        print(
            f"\ndensenet121: largest difference {largest:.2e} of {reach:.2f} over {_IMAGES} images, "
            f"probabilities {apart:.2e} apart"
        )
    assert [one.label for one in findings.classifications] == [label["name"] for label in _LABELS]
    assert largest < 1e-4
    assert apart < 1e-5


def _images() -> Array:
    """Noise over a slope, a bright block in a corner: of no symmetry."""
    random = np.random.default_rng(5)
    images = random.normal(500.0, 50.0, (_IMAGES, _ROWS, _COLUMNS)) + np.linspace(0, 300, _COLUMNS)
    images[:, : _ROWS // 3, : _COLUMNS // 4] += 900.0
    images[1] *= 0.5
    return np.rint(images)
