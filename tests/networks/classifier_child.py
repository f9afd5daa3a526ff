"""Builds MONAI's DenseNet121, exports it, and says what it answers; in an environment of its own.

usage: classifier_child.py FOLDER
FOLDER holds images.npy (n, y, x); it leaves network.onnx with its weights beside it, and reference.npz.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

SEED = 11


def main(folder: Path) -> None:
    """Do all of it."""
    torch: Any = importlib.import_module("torch")
    networks: Any = importlib.import_module("monai.networks.nets")
    transforms: Any = importlib.import_module("monai.transforms")
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    network = networks.DenseNet121(spatial_dims=2, in_channels=1, out_channels=3).eval()
    # As MONAI's readers give an image: columns first.
    images = [torch.as_tensor(image.T[None].astype(np.float32)) for image in np.load(folder / "images.npy")]
    prepared = torch.stack([torch.as_tensor(transforms.ScaleIntensity()(image)) for image in images])
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(network, (prepared[:1],), str(folder / "network.onnx"), dynamo=True, **names)
    with torch.no_grad():
        logits = network(prepared)
    probabilities = transforms.Activations(sigmoid=True)(logits)
    np.savez(folder / "reference.npz", raw=np.asarray(logits), probabilities=np.asarray(probabilities))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
