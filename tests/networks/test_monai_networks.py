"""MONAI's networks, built and exported by MONAI itself, give the same here as in PyTorch."""

from __future__ import annotations

import json
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
from models.findings import Findings
from models.importing.toml_text import written
from models.package import Package, open_package
from tests.models import given
from tests.networks import environment
from tests.networks.bundles import BUNDLES, Bundle

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
Array = NDArray[Any]
_CHILD = Path(__file__).with_name("monai_child.py")


@pytest.fixture(params=sorted(BUNDLES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_bundle_gives_the_same_here_as_in_monai(name: str, tmp_path: Path, capsys) -> None:
    bundle = BUNDLES[name]
    voxels = _series(bundle)
    _write(bundle, name, voxels, tmp_path)
    environment.child(_CHILD, str(tmp_path), bundle.exporter)
    reference = np.load(tmp_path / "reference.npz")
    package = _imported(bundle, tmp_path)

    findings, raw = _analysed(package, bundle, voxels)

    assert raw.shape == reference["raw"].shape
    largest = float(np.abs(raw - reference["raw"]).max())
    reach = float(np.abs(reference["raw"]).max())
    masks, wanted = _masks(findings, package), _wanted(bundle, reference["answer"])
    different = sum(int((masks[value] != mask).sum()) for value, mask in wanted.items())
    with capsys.disabled():
        print(
            f"\n{name}: largest difference {largest:.2e} of {reach:.2f} over {len(raw)} windows, "
            f"{different} of {voxels.size * len(wanted)} voxels labelled otherwise"
        )
    assert all(0.001 < mask.mean() < 0.999 for mask in wanted.values()), "the network must say something"
    assert largest < 1e-4 * max(1.0, reach)
    # Where two channels are as good as equal, the last digit decides.
    assert all(_dice(masks[value], mask) >= 0.999 for value, mask in wanted.items())


def _series(bundle: Bundle) -> Array:
    """Noise around bright blocks, of no symmetry."""
    random = np.random.default_rng(3)
    voxels = random.normal(40.0, 40.0, bundle.shape)
    z, y, x = bundle.shape
    voxels[: z // 2, y // 3 :, : x // 3] += 120.0
    voxels[z // 3 :, : y // 2, x // 2 :] -= 90.0
    return np.rint(voxels)


def _write(bundle: Bundle, name: str, voxels: Array, folder: Path) -> None:
    configs = folder / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps(bundle.metadata(name)), encoding="utf-8")
    (configs / "inference.json").write_text(json.dumps(bundle.inference()), encoding="utf-8")
    (folder / "spacing.json").write_text(json.dumps(bundle.spacing_mm), encoding="utf-8")
    np.save(folder / "voxels.npy", voxels)
    answers = {
        "regulatory_status": "None.",
        "licence": "Apache-2.0",
        "accepts": {"slices_min": 4},
        "labels": list(bundle.labels),
    }
    (folder / "answers.toml").write_text(written(answers), encoding="utf-8")


def _imported(bundle: Bundle, folder: Path) -> Package:
    """Import, which records golden cases and checks; then pack, and open what was packed."""
    target, packed, opened = folder / "package", folder / "package.zip", folder / "opened"
    command = ["model", "import-monai", str(folder / "bundle"), "--out", str(target)]
    _run(*command, "--answers", str(folder / "answers.toml"))
    _run("model", "check", str(target))
    _run("model", "pack", str(target), str(packed))
    opened.mkdir()
    return open_package(packed, unpack_into=opened)


def _run(*command: str) -> None:
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 0, done.output


def _analysed(package: Package, bundle: Bundle, voxels: Array) -> tuple[Findings, Array]:
    """Analyse as the box does; keep what the network said to each window."""
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(package))
    said: list[Array] = []

    def infer(batch: Mapping[str, Array]) -> Mapping[str, Array]:
        answers = engine.infer(batch, deadline_seconds=300)
        said.append(answers["pred"])
        return answers

    volume = given.volume(
        voxels,
        spacing_mm=bundle.spacing_mm,
        modality=bundle.modality,
        units="HU" if bundle.modality == "CT" else "",
    )
    findings = analyse(package, volume, infer)
    engine.unload()
    return findings, np.concatenate(said)


def _masks(findings: Findings, package: Package) -> dict[int, Array]:
    """The mask of each label by its number; one that was not found is empty."""
    by_name = {segment.label: segment.mask for segment in findings.segments}
    empty = np.zeros(1, dtype=np.bool_)
    (output,) = package.manifest.answers
    return {label.value: by_name.get(label.name, empty) for label in output.labels}


def _dice(one: Array, other: Array) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _wanted(bundle: Bundle, answer: Array) -> dict[int, Array]:
    """MONAI's answer as masks: one map of numbers, or one channel per label."""
    values = [label["value"] for label in bundle.labels]
    if len(answer) == 1:
        return {value: answer[0] == value for value in values}
    return {value: answer[value] > 0 for value in values}
