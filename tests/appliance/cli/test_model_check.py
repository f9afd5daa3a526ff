from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.app import app
from models.importing.toml_text import written
from tests.models import given
from tests.models.importing import networks

TASKS = ("classification", "detection", "segmentation", "measurement")


def _run(*command: object) -> Result:
    return CliRunner().invoke(app, ["model", *(str(one) for one in command)])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small package with nothing wrong in it."""
    folder = tmp_path_factory.mktemp("sound") / "package"
    assert _run("new", "my-model", "--task", "segmentation", "--out", folder).exit_code == 0
    _fill_in(folder, "segmentation")
    assert _run("record", folder).exit_code == 0
    return folder


def _bent(tmp_path: Path, *edits: tuple[str, str], source: Path = given.LESION) -> Path:
    folder = given.copy_package(source, tmp_path / "package")
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
        assert count == 1, pattern
    manifest.write_text(text, encoding="utf-8")
    return folder


def test_a_sound_package_is_sound(sound: Path) -> None:
    done = _run("check", sound, "--json")

    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["faults"] == []
    assert told["digest"].startswith("sha256:")


def test_ten_faults_are_all_reported(tmp_path: Path) -> None:
    folder = _bent(
        tmp_path,
        (r'^version = ".*"', 'version = "one"'),
        (r'^task = ".*"', 'task = "guessing"'),
        (r'^licence = ".*"', 'licence = ""'),
        (r'^geometry = ".*"', 'geometry = "any"'),
        (r"^overlap = .*", "overlap = 1.5"),
        (r'^orientation = ".*"', 'orientation = "XYZ"'),
        (r'^kind = ".*"', 'kind = "maybe"'),
        (r"^memory_mib = .*", "memory_mib = 0\nspeed = 9"),
        (r'^step = "resample"', 'step = "sharpen"'),
    )
    (folder / "MODEL_CARD.md").unlink()

    told = json.loads(_run("check", folder, "--json").stdout)

    wanted = (
        *("version", "task", "licence", "input.overlap", "input.orientation", "output.kind"),
        *("resources.memory_mib", "resources.speed", "prepare", "MODEL_CARD.md"),
    )
    for key in wanted:
        assert any(key in fault for fault in told["faults"]), key
    assert len(told["faults"]) >= 10


def test_faults_of_every_kind_are_told_in_one_go(tmp_path: Path) -> None:
    """A key, a condition and a code: none waits until the others are right."""
    folder = _bent(
        tmp_path,
        (r"^overlap = .*", "overlap = 1.5"),
        (r"^threshold = .*", "threshold = 1.5"),
        (r"^when = .*", "when = 'Modalty == \"CT\"'"),
        (r'(type = \{ value = )"[0-9A-Za-z]+"', r'\1"10200004"'),
    )

    told = json.loads(_run("check", folder, "--json").stdout)["faults"]

    for words in ("input.overlap", "interpret[1].threshold", "did you mean Modality", "means 'Liver'"):
        assert any(words in fault for fault in told), (words, told)
    assert not any("interpret has 0 entries" in fault for fault in told), "there is one, and it has a fault"


def test_a_network_is_compared_though_other_sections_have_faults(tmp_path: Path) -> None:
    folder = _bent(
        tmp_path,
        (r'^version = ".*"', 'version = "one"'),
        (r"^threshold = .*", "threshold = 1.5"),
        (r'^tensor = ".*"', 'tensor = "nothing"'),
    )

    told = json.loads(_run("check", folder, "--json").stdout)["faults"]

    for words in ("version is 'one'", "interpret[1].threshold", "model.onnx: has no input 'nothing'"):
        assert any(words in fault for fault in told), (words, told)


def test_a_condition_with_a_misspelt_keyword_is_a_fault(tmp_path: Path) -> None:
    folder = _bent(tmp_path, (r"^when = .*", "when = 'Modalty == \"CT\"'"))

    done = _run("check", folder)

    assert done.exit_code == 1
    assert "accepts.when: Modalty" in done.output


def test_a_concept_and_a_network_that_do_not_fit_are_reported_together(tmp_path: Path) -> None:
    folder = _bent(tmp_path, (r'(type = \{ value = )"[0-9A-Za-z]+"', r'\1"10200004"'))
    networks.saved(networks.two_classes(), folder / "model.onnx")

    done = _run("check", folder)

    assert done.exit_code == 1
    assert "10200004 SCT means 'Liver'" in done.output
    assert "model.onnx: " in done.output


def test_external_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    folder = _bent(tmp_path)
    (folder / "model.onnx").unlink()
    networks.saved_apart(networks.two_classes(), folder / "model.onnx", "weights.onnx")

    done = _run("check", folder)

    assert done.exit_code == 1
    assert "weights in another file" in done.output or "weights in weights.onnx" in done.output


def test_a_golden_case_that_does_not_reproduce_is_a_fault(tmp_path: Path, sound: Path) -> None:
    folder = _bent(tmp_path, (r"^high = .*", "high = 900.0"), source=sound)
    (folder / "golden" / "torn.npz").write_bytes(b"PK\x05\x06" + bytes(18))

    done = _run("check", folder)

    assert done.exit_code == 1
    assert "3 of 3 golden cases came out different" in done.output


def test_memory_is_held_against_the_sites_budget(tmp_path: Path, sound: Path) -> None:
    folder = _bent(tmp_path, (r"^memory_mib = .*", "memory_mib = 3000"), source=sound)
    site = tmp_path / "site.toml"
    assert CliRunner().invoke(app, ["init", str(site)]).exit_code == 0
    raw = tomllib.loads(site.read_text(encoding="utf-8"))
    raw["inference"] = raw.get("inference", {}) | {"memory_gib": 2}
    raw["storage"]["root"] = str(tmp_path / "root")
    site.write_text(written(raw), encoding="utf-8")

    alone, at_site = _run("check", folder), _run("check", folder, "--config", site)

    assert alone.exit_code == 0, alone.output
    assert at_site.exit_code == 1
    assert "resources.memory_mib is 3000; this site gives its models 2048 MiB" in at_site.output


def test_a_zip_is_checked_and_packing_repeats_itself(tmp_path: Path, sound: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"

    assert _run("pack", sound, one).exit_code == 0
    assert _run("pack", sound, two).exit_code == 0

    assert one.read_bytes() == two.read_bytes()
    assert json.loads(_run("check", one, "--json").stdout)["ok"] is True
    assert _run("pack", sound, one).exit_code == 2, "an existing file is not written over"


def test_what_is_no_package_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")

    assert "there is no such" in _run("check", tmp_path / "nowhere").output
    assert "cannot be unpacked" in _run("check", tmp_path / "a.zip").output


@pytest.mark.parametrize("task", TASKS)
def test_a_new_package_is_explained_until_it_is_right(task: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert _run("new", "my-model", "--task", task, "--out", folder).exit_code == 0

    told = json.loads(_run("check", folder, "--json").stdout)

    for wanted in ("intended_use", "accepts.when", "input.tensor", "output.tensor", "model.onnx", "golden/"):
        assert any(wanted in fault for fault in told["faults"]), wanted
    _fill_in(folder, task)
    recorded = _run("record", folder)
    assert recorded.exit_code == 0, recorded.output
    assert json.loads(_run("check", folder, "--json").stdout)["faults"] == []


def test_a_name_or_task_that_cannot_be_is_bad_use(tmp_path: Path) -> None:
    assert _run("new", "My Model", "--task", "segmentation", "--out", tmp_path / "a").exit_code == 2
    assert _run("new", "my-model", "--task", "guessing", "--out", tmp_path / "a").exit_code == 2
    assert not (tmp_path / "a").exists()


def _fill_in(folder: Path, task: str) -> None:
    """Do what the comments say: take the # off, and write values."""
    manifest = folder / "manifest.toml"
    raw: dict[str, Any] = tomllib.loads(manifest.read_text(encoding="utf-8"))
    raw |= {"intended_use": "Testing.", "regulatory_status": "None.", "licence": "MIT"}
    raw["accepts"] = {"when": 'Modality == "CT"', "geometry": "regular", "slices_min": 2}
    raw["resources"] = {"memory_mib": 256}
    raw["input"] |= {"tensor": "image", "units": "HU"}
    raw["prepare"] = [{"step": "scale", "low": 0.0, "high": 100.0}]
    raw["output"] |= {"tensor": "pred"}
    code = {"value": "78961009", "scheme": "SCT", "meaning": "Spleen"}
    label: dict[str, Any] = {"name": "spleen", "value": 1, "title": "spleen", "type": code}
    model = networks.scores()
    if task == "segmentation":
        raw["input"] |= {"patch": [8, 6, 4], "orientation": "LPS"}
        category = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}
        label |= {"category": category, "colour_rgb": [1, 2, 3]}
        model = networks.two_classes()
    else:
        raw["input"] |= {"size": [16, 12]}
    if task == "measurement":
        unit = {"value": "mm", "scheme": "UCUM", "meaning": "mm"}
        concept = {"value": "439984002", "scheme": "SCT", "meaning": "Diameter of structure"}
        quantity = {"name": "size", "value": 0, "title": "size", "concept": concept, "unit": unit}
        raw["output"] |= {"quantities": [quantity], "channels": 2}
    else:
        raw["output"]["labels"] = [label | {"value": 0 if task == "detection" else 1}]
    if task == "classification":
        raw["output"]["activation"] = "softmax"
    if task == "detection":
        raw["output"] |= {"tensor": "boxes", "coordinates": "xyxy", "box_scores": "scores"}
        model = networks.one_box()
    manifest.write_text(written(raw), encoding="utf-8")
    networks.saved(model, folder / "model.onnx")
