from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.importing.limits import ImportLimits
from models.importing.monai_bundle import plain_name, read_bundle, read_pipeline
from models.importing.monai_config import BundleError, Component, Configuration, Python
from models.importing.reading import Reading

ORIENT: dict[str, Any] = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
SLIDING: dict[str, Any] = {
    "_target_": "SlidingWindowInferer",
    "roi_size": [96, 64, 32],
    "overlap": 0.25,
    "mode": "gaussian",
}


def _read(before: list[Any], inferer: Any = SLIDING, after: list[Any] | None = None, **more: Any) -> Reading:
    raw = {"preprocessing": {"_target_": "Compose", "transforms": before}, "inferer": inferer, **more}
    raw["postprocessing"] = {"_target_": "Compose", "transforms": after or []}
    return read_pipeline(Configuration(raw=raw, limits=ImportLimits()), "image")


def _step(name: str, **parameters: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": "image", **parameters}


def test_a_usual_pipeline_is_imported_whole() -> None:
    reading = _read(
        [
            _step("LoadImaged"),
            _step("EnsureChannelFirstd"),
            ORIENT,
            _step("Spacingd", pixdim="@pixdim", mode="bilinear"),
            _step("ScaleIntensityRanged", a_min=-57, a_max=164, b_min=-1, b_max=1, clip=True),
            _step("EnsureTyped", device="@device"),
        ],
        after=[
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@root + '/eval'"},
        ],
        pixdim=[1.5, 1.0, 2.0],
        device="$torch.device('cuda:0')",
    )

    assert reading.missing == []
    assert reading.input == {
        "orientation": "RAS",
        "spacing_mm": [2.0, 1.0, 1.5],
        "layout": "patch",
        "patch": [32, 64, 96],
        "overlap": 0.25,
        "batch": 1,
    }
    assert reading.prepare == [
        {"step": "resample"},
        {"step": "clip", "low": -57.0, "high": 164.0},
        {"step": "scale", "low": -57.0, "high": 164.0, "to": [-1.0, 1.0]},
    ]
    assert reading.output == {"activation": "softmax", "kind": "classes"}
    assert any(sentence.startswith("Spacingd:") for sentence in reading.differences)


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        (_step("ScaleIntensityRanged", a_min=0, a_max=5), [{"step": "scale", "low": 0.0, "high": 5.0}]),
        (_step("NormalizeIntensityd"), [{"step": "z-score"}]),
        (
            _step("NormalizeIntensityd", subtrahend=[10], divisor=[4], channel_wise=True),
            [{"step": "normalise", "mean": 10.0, "deviation": 4.0}],
        ),
        (
            _step("ScaleIntensityd"),
            [{"step": "percentile-window", "low": 0.0, "high": 100.0, "to": [0.0, 1.0], "clip": False}],
        ),
        (
            _step(
                "ScaleIntensityRangePercentilesd",
                lower=10,
                upper=90,
                b_min=0,
                b_max=1,
                clip=True,
                relative=True,
            ),
            [{"step": "percentile-window", "low": 10.0, "high": 90.0, "to": [0.1, 0.9], "clip": True}],
        ),
        (_step("ShiftIntensityd", offset=1024), [{"step": "normalise", "mean": -1024.0, "deviation": 1.0}]),
    ],
)
def test_intensity_transforms_become_steps(step: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    reading = _read([ORIENT, step])

    assert reading.missing == []
    assert reading.prepare == steps


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (_step("CropForegroundd", source_key="image"), "no step for it"),
        (_step("NormalizeIntensityd", nonzero=True), "leaves zeros as they are"),
        (_step("Lambdad", func="$lambda x: x * 2"), "no step for it"),
        (_step("Orientationd", axcodes="PLI"), "axcodes are PLI"),
        (_step("Spacingd", pixdim="$[1.5] * 3"), "Python, which is not run"),
        (_step("Spacingd", pixdim=[1, 1, 1], mode="nearest"), "mode is 'nearest'"),
        (_step("ScaleIntensityd", dtype="$np.int16"), "dtype is"),
        (_step("ScaleIntensityd", sharpen=3), "does not know its parameter sharpen"),
        ({"_target_": "ScaleIntensityd", "keys": ["image", "prior"]}, "works on image, prior"),
        (_step("my.own.Sharpen", by=2), "no step for it"),
    ],
)
def test_what_cannot_be_expressed_is_named_with_its_parameters(step: dict[str, Any], reason: str) -> None:
    reading = _read([ORIENT, step])

    (missing,) = reading.missing
    assert missing.name == step["_target_"].rpartition(".")[2]
    assert set(missing.parameters) == set(step) - {"_target_"}
    assert reason in missing.reason


def test_every_part_ends_in_one_list() -> None:
    names = ["LoadImaged", "CropForegroundd", "Orientationd", "SpatialPadd", "EnsureTyped", "Rotate90d"]

    reading = _read([_step(name, axcodes="RAS") if name == "Orientationd" else _step(name) for name in names])

    imported = [sentence.partition(":")[0] for sentence in reading.imported]
    assert sorted([*imported, *(one.name for one in reading.missing)]) == sorted(
        [*names, "SlidingWindowInferer"]
    )


def test_blending_that_differs_is_named_by_its_parameter() -> None:
    inferer: dict[str, Any] = {
        "_target_": "SlidingWindowInferer",
        "roi_size": [32, 32, 32],
        "padding_mode": "reflect",
        "mode": "gaussian",
        "sigma_scale": 0.25,
    }

    assert [one.name for one in _read([ORIENT], inferer).missing] == [
        "SlidingWindowInferer.sigma_scale",
        "SlidingWindowInferer.padding_mode",
    ]


@pytest.mark.parametrize(("mode", "blend"), [("constant", "mean"), ("gaussian", None)])
def test_blending_by_mean_is_monai_s_default_and_is_taken_over(mode: str, blend: str | None) -> None:
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "mode": mode}

    reading = _read([ORIENT], inferer)

    assert reading.missing == []
    assert reading.input.get("blend") == blend


def test_an_unknown_inferer_and_postprocessing_are_named() -> None:
    after = [{"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}]

    reading = _read([ORIENT], {"_target_": "SliceInferer", "roi_size": [64, 64]}, after)

    assert [one.name for one in reading.missing] == ["SliceInferer", "KeepLargestConnectedComponentd"]
    assert reading.missing[1].written() == "keys='pred', applied_labels=[1]"


def test_a_pipeline_without_preprocessing_is_not_taken_for_none() -> None:
    reading = read_pipeline(Configuration(raw={}, limits=ImportLimits()), "image")

    assert [one.name for one in reading.missing] == ["preprocessing", "inferer"]


def test_references_are_followed_and_python_is_not_run() -> None:
    raw = {
        "a": {"b": [1, {"c": "@d"}]},
        "d": "$[1, 2]",
        "e": "$__import__('os').abort()",
        "f": "@g",
        "g": "@f",
        "h": {"_target_": "monai.transforms.Spacing", "pixdim": "@a#b#1#c"},
        "i": {"_target_": "X", "_disabled_": True},
    }
    configuration = Configuration(raw=raw, limits=ImportLimits())

    assert configuration.value("@a#b#1#c") == [1, 2]
    assert configuration.value("@a::b::0") == 1
    assert configuration.value("@e") == Python(text="__import__('os').abort()")
    assert isinstance(configuration.value("@f"), Python)
    assert isinstance(configuration.value("@nowhere"), Python)
    assert configuration.components("h") == [Component(name="Spacing", parameters={"pixdim": [1, 2]})]
    assert configuration.components("i") == []


@pytest.mark.parametrize("name", ["Spacing", "Spacingd", "SpacingD", "SpacingDict"])
def test_a_transform_has_several_names(name: str) -> None:
    assert plain_name(name) == "Spacing"


def test_a_bundle_without_what_is_needed_says_so(tmp_path: Path) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    with pytest.raises(BundleError, match=r"configs/metadata\.json: is missing"):
        read_bundle(tmp_path)
    (configs / "inference.yaml").write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(BundleError, match="YAML is not read"):
        read_bundle(tmp_path)
    (configs / "inference.json").write_text("{}", encoding="utf-8")
    (configs / "metadata.json").write_text(json.dumps({"version": "1"}), encoding="utf-8")
    with pytest.raises(BundleError, match=r"network_data_format\.inputs is missing"):
        read_bundle(tmp_path)
    two: dict[str, Any] = {
        "network_data_format": {"inputs": {"image": {}, "prior": {}}, "outputs": {"pred": {}}}
    }
    (configs / "metadata.json").write_text(json.dumps(two), encoding="utf-8")
    with pytest.raises(BundleError, match="the inputs image, prior"):
        read_bundle(tmp_path)
