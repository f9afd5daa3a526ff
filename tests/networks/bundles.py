"""MONAI bundles as people publish them, small: a configuration each, and the series they are run on.

Sides, spacings and patches differ along every axis, so that a mix-up of axes cannot go unseen. The series has
the network's spacing, and its length is a whole number of steps, so that every transform is the identity or
exact and the two sides can be compared number by number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One network with all around it; shape and spacing are (z, y, x)."""

    network: Json
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    roi_xyz: tuple[int, int, int]
    modality: str
    channels: tuple[str, ...]
    intensity: tuple[Json, ...]
    after: tuple[Json, ...]
    labels: tuple[Json, ...]
    exporter: str = "torchscript"
    extra: Json = field(default_factory=dict)

    def metadata(self, name: str) -> Json:
        """metadata.json."""
        side = {
            "type": "image",
            "dtype": "float32",
            "is_patch_data": True,
            "spatial_shape": list(self.roi_xyz),
        }
        given = {
            "format": "hounsfield" if self.modality == "CT" else "magnitude",
            "modality": self.modality,
            "num_channels": 1,
            "value_range": [0, 1],
            "channel_def": {"0": "image"},
        }
        answer = {
            "format": "segmentation",
            "num_channels": len(self.channels),
            "value_range": [0, 1],
            "channel_def": {str(n): channel for n, channel in enumerate(self.channels)},
        }
        return {
            "version": "0.3.1",
            "monai_version": "1.6.1",
            "pytorch_version": "2.13.0",
            "numpy_version": "2.4.6",
            "name": name,
            "task": "A random network of real shape",
            "intended_use": "Random weights, for testing only.",
            "network_data_format": {"inputs": {"image": side | given}, "outputs": {"pred": side | answer}},
        }

    def inference(self) -> Json:
        """inference.json."""
        key = {"keys": "image"}
        return {
            "imports": ["$import os"],
            "pixdim": list(reversed(self.spacing_mm)),
            "network_def": self.network,
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "LoadImaged", **key},
                    {"_target_": "EnsureChannelFirstd", **key},
                    {"_target_": "Orientationd", **key, "axcodes": "RAS"},
                    {"_target_": "Spacingd", **key, "pixdim": "@pixdim", "mode": "bilinear"},
                    *({**step, **key} for step in self.intensity),
                    {"_target_": "EnsureTyped", **key},
                ],
            },
            "inferer": {
                "_target_": "SlidingWindowInferer",
                "roi_size": list(self.roi_xyz),
                "sw_batch_size": 2,
                "overlap": 0.5,
                "mode": "gaussian",
            },
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [
                    *({**step, "keys": "pred"} for step in self.after[:1]),
                    {
                        "_target_": "Invertd",
                        "keys": "pred",
                        "transform": "@preprocessing",
                        "orig_keys": "image",
                        "nearest_interp": False,
                        "to_tensor": True,
                    },
                    *({**step, "keys": "pred"} for step in self.after[1:]),
                    {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$os.path.join('.', 'eval')"},
                ],
            },
        }


_WINDOW: Json = {
    "_target_": "ScaleIntensityRanged",
    "a_min": -57,
    "a_max": 164,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}
_CLASSES: tuple[Json, ...] = (
    {"_target_": "Activationsd", "softmax": True},
    {"_target_": "AsDiscreted", "argmax": True},
)
_EACH: tuple[Json, ...] = (
    {"_target_": "Activationsd", "sigmoid": True},
    {"_target_": "AsDiscreted", "threshold": 0.5},
)
_SPLEEN: Json = {"value": 1, "type": "78961009 SCT Spleen", "category": "anatomy"}

BUNDLES: dict[str, Bundle] = {
    "unet": Bundle(
        network={
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [16, 32, 64, 128],
            "strides": [2, 2, 2],
            "num_res_units": 2,
            "norm": "batch",
        },
        shape=(48, 32, 96),
        spacing_mm=(3.0, 1.5, 2.0),
        roi_xyz=(64, 32, 16),
        modality="CT",
        channels=("background", "spleen"),
        intensity=(_WINDOW,),
        after=_CLASSES,
        labels=(_SPLEEN,),
    ),
    "segresnet": Bundle(
        network={
            "_target_": "SegResNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "init_filters": 8,
            "blocks_down": [1, 2, 2],
            "blocks_up": [1, 1],
        },
        shape=(24, 48, 64),
        spacing_mm=(2.0, 1.0, 1.25),
        roi_xyz=(32, 48, 16),
        modality="MR",
        channels=("background", "left ventricle", "right ventricle"),
        intensity=({"_target_": "NormalizeIntensityd"},),
        after=_CLASSES,
        labels=(
            {"value": 1, "type": "87878005 SCT Left ventricle", "category": "anatomy"},
            {"value": 2, "type": "53085002 SCT Right ventricle", "category": "anatomy"},
        ),
        exporter="dynamo",
    ),
    "swin_unetr": Bundle(
        network={
            "_target_": "SwinUNETR",
            "in_channels": 1,
            "out_channels": 2,
            "feature_size": 12,
            "depths": [2, 2, 2, 2],
            "num_heads": [3, 6, 12, 24],
        },
        shape=(64, 96, 64),
        spacing_mm=(2.0, 1.5, 1.0),
        roi_xyz=(64, 64, 64),
        modality="CT",
        channels=("spleen", "liver"),
        intensity=(_WINDOW,),
        after=_EACH,
        labels=(
            {"value": 0, "type": "78961009 SCT Spleen", "category": "anatomy"},
            {"value": 1, "type": "10200004 SCT Liver", "category": "anatomy"},
        ),
    ),
    "unetr": Bundle(
        network={
            "_target_": "UNETR",
            "in_channels": 1,
            "out_channels": 2,
            "img_size": [64, 32, 48],
            "feature_size": 8,
            "hidden_size": 96,
            "mlp_dim": 192,
            "num_heads": 4,
        },
        shape=(72, 32, 64),
        spacing_mm=(2.5, 1.0, 1.5),
        roi_xyz=(64, 32, 48),
        modality="MR",
        channels=("background", "spleen"),
        intensity=(
            {"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99, "b_min": -1, "b_max": 1},
        ),
        after=_CLASSES,
        labels=(_SPLEEN,),
    ),
}
