"""`readside model bench` and `readside model quantise`, as their users type them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.cli.model_quantise import PARITY
from models.catalogue import shipped
from models.package import open_package

RUN = CliRunner()
BANDS = next(path for path in shipped() if path.name == "ct-tissue-bands")
MARKER = next(path for path in shipped() if path.name == "dx-phantom-marker")


def test_two_engines_are_measured_in_one_run_and_drawn(tmp_path: Path):
    asked = ["model", "bench", "ct-tissue-bands", "--engines", "cpu,openvino,tensorrt", "--batches", "1,2"]
    done = RUN.invoke(app, [*asked, "--seconds", "0.1", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert set(told["engines"]) | set(told["absent"]) == {"cpu", "openvino", "tensorrt"}
    assert "cpu" in told["engines"]
    measured = [(one["engine"], one["batch"]) for one in told["speeds"]]
    assert measured == [(engine, batch) for batch in (1, 2) for engine in told["engines"]]
    assert all(one["items_per_second"] > 0 for one in told["speeds"])
    assert all(0 < one["efficiency"] < 1 for one in told["pipelines"])
    assert json.loads((tmp_path / "bench.json").read_text())["digest"] == open_package(BANDS).digest
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "bench.svg").read_text()


def test_a_table_says_who_was_faster_and_who_is_not_here():
    done = RUN.invoke(
        app, ["model", "bench", str(BANDS), "--engines", "cpu,kserve", "--batches", "1", "--seconds", "0"]
    )
    assert done.exit_code == 0, done.output
    assert "1.00x" in done.stdout
    assert "efficiency" in done.stdout
    assert "kserve: not measured." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-model"], "no model is called 'no-such-model'"),
        (["ct-tissue-bands", "--engines", "warp"], "no engine is called warp"),
        (["ct-tissue-bands", "--batches", "0"], "must be numbers from 1 to 1024"),
    ],
)
def test_what_was_typed_wrong_is_said(arguments: list[str], said: str):
    done = RUN.invoke(app, ["model", "bench", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize("precision", ["fp16", "int8-qdq", "int8-qdq-symmetric"])
def test_a_variant_is_a_package_that_names_what_it_came_from(tmp_path: Path, precision: str):
    target = tmp_path / "variant"
    done = RUN.invoke(app, ["model", "quantise", str(MARKER), "--precision", precision, "--out", str(target)])
    assert done.exit_code == 0, done.output
    made = open_package(target)
    assert made.manifest.version == f"1.0.0-{precision}"
    assert made.manifest.variant is not None
    assert made.manifest.variant.of == open_package(MARKER).digest
    assert made.digest != open_package(MARKER).digest
    verdict = json.loads((target / PARITY).read_text())
    assert verdict["ok"]
    assert len(verdict["cases"]) == len(made.golden_paths())
    assert precision in (target / "MODEL_CARD.md").read_text()
    assert "within absolute" in done.stdout
    again = RUN.invoke(
        app, ["model", "quantise", str(target), "--precision", precision, "--out", str(tmp_path / "b")]
    )
    assert again.exit_code == 2
    assert "is a variant itself" in again.stderr


def test_a_network_with_nothing_to_reduce_is_left_alone(tmp_path: Path):
    target = tmp_path / "variant"
    done = RUN.invoke(app, ["model", "quantise", str(BANDS), "--precision", "int8-qdq", "--out", str(target)])
    assert done.exit_code == 1
    assert "Nothing in this network can be calculated in int8-qdq" in done.stderr
    assert not target.exists()


def through_eight_bits(folder: Path) -> Path:
    """Copy the tissue bands with a convolution in front that changes nothing, and that INT8 makes coarse."""
    shutil.copytree(BANDS, folder)
    model = onnx.load(folder / "model.onnx")
    tensor = open_package(BANDS).manifest.input.tensor
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == tensor:
                node.input[place] = "through"
    model.graph.node.insert(0, helper.make_node("Conv", [tensor, "one"], ["through"], name="same"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "one"))
    onnx.save(model, folder / "model.onnx")
    return folder


def test_a_variant_that_answers_otherwise_is_not_kept(tmp_path: Path):
    package, target = through_eight_bits(tmp_path / "coarse"), tmp_path / "variant"
    asked = ["model", "quantise", str(package), "--precision", "int8-qdq", "--out", str(target), "--json"]
    done = RUN.invoke(app, asked)
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert not told["ok"]
    assert any(case["differences"] for case in told["verdict"]["cases"])
    assert not target.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coarse"]


def test_a_precision_that_nobody_knows_is_refused(tmp_path: Path):
    asked = ["model", "quantise", str(BANDS), "--precision", "int4", "--out", str(tmp_path / "x")]
    done = RUN.invoke(app, asked)
    assert done.exit_code == 2
    assert "must be one of fp16, int8-qdq, int8-qdq-symmetric" in done.stderr
