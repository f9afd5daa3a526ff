"""Builds a bundle's network, exports it, and runs the bundle as MONAI does; in an environment of its own.

usage: monai_child.py FOLDER EXPORTER
FOLDER holds bundle/configs/*.json, voxels.npy (z, y, x) and spacing.json; it leaves bundle/models/model.onnx
and reference.npz: `answer`, what MONAI's own transforms and inferer say on the series' grid, and `raw`, what
the network says to each window.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SEED = 11
_SAVE = "SaveImaged"


def main(folder: Path, exporter: str) -> None:
    """Do all of it."""
    torch: Any = importlib.import_module("torch")
    bundle: Any = importlib.import_module("monai.bundle")
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    parser = bundle.ConfigParser(_without_saving(folder / "bundle" / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    roi = parser.get_parsed_content("inferer").roi_size
    export(torch, network, (1, 1, *roi), folder / "bundle" / "models" / "model.onnx", exporter)
    image = parser.get_parsed_content("preprocessing")({"image": _series(folder)})
    with torch.no_grad():
        blended = parser.get_parsed_content("inferer")(image["image"][None], network)[0]
        raw = _windows(torch, network, image["image"], roi)
    after = parser.get_parsed_content("postprocessing")(image | {"pred": blended})
    answer = np.asarray(after["pred"]).astype(np.uint8).transpose(0, 3, 2, 1)
    np.savez_compressed(folder / "reference.npz", answer=answer, raw=raw)


def export(torch: Any, network: Any, shape: tuple[int, ...], path: Path, exporter: str) -> None:
    """Write the network as ONNX, by the exporter of old or the one that PyTorch uses unasked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["pred"]}
    example = (torch.randn(shape),)
    if exporter == "dynamo":
        # Unasked it writes the weights into a second file beside the first.
        torch.onnx.export(network, example, str(path), dynamo=True, **names)
        return
    axes = {"image": {0: "n"}, "pred": {0: "n"}}
    torch.onnx.export(network, example, str(path), dynamo=False, opset_version=17, dynamic_axes=axes, **names)


def _without_saving(path: Path) -> dict[str, Any]:
    """The bundle's own configuration, but for the step that writes files."""
    configuration: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    after = configuration["postprocessing"]
    after["transforms"] = [one for one in after["transforms"] if one["_target_"] != _SAVE]
    return configuration


def _series(folder: Path) -> str:
    """Write the series as NIfTI, as an axial LPS series becomes one: axes (x, y, z), affine in RAS."""
    nibabel: Any = importlib.import_module("nibabel")
    voxels = np.load(folder / "voxels.npy").transpose(2, 1, 0).astype(np.float32)
    z, y, x = json.loads((folder / "spacing.json").read_text(encoding="utf-8"))
    path = folder / "series.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-x, -y, z, 1.0])), path)
    return str(path)


def _windows(torch: Any, network: Any, image: Any, roi: Any) -> Any:
    """What the network says to each window, windows by z, y, x, each answer (channels, z, y, x)."""
    starts = [
        range(0, size - side + 1, side // 2) for size, side in zip(image.shape[:0:-1], roi[::-1], strict=True)
    ]
    answers = []
    for z, y, x in itertools.product(*starts):
        part = image[:, x : x + roi[0], y : y + roi[1], z : z + roi[2]]
        answers.append(np.asarray(network(torch.as_tensor(part)[None])[0]).transpose(0, 3, 2, 1))
    return np.stack(answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
