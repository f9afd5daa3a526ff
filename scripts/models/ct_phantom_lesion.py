"""Make models/library/ct-phantom-lesion: train a small 3D network on synthetic heads, export it, test it.

    python scripts/models/ct_phantom_lesion.py train     # needs torch, onnx; writes model.onnx
    python scripts/models/ct_phantom_lesion.py evaluate  # needs onnxruntime; held-out Dice, and the golden cases

It prepares voxels with the very steps the manifest names, so what the network is trained on is what it is given.
Run it from the repository root. Nothing in the product imports it.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import phantom  # noqa: E402  the repository root must be on the path first
from models.operations import grid, intensity  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

PACKAGE = ROOT / "models" / "library" / "ct-phantom-lesion"
SPACING_MM = (2.0, 2.0, 2.0)
BEFORE = (
    intensity.FillPadding(step="fill-padding", value=-1000.0),
    intensity.Clip(step="clip", low=-40.0, high=160.0),
)
AFTER = (intensity.Scale(step="scale", low=-40.0, high=160.0),)
TRAIN_SEEDS = range(1000, 1048)
HELD_OUT_SEEDS = range(9000, 9016)
SOURCES = (((60, 200, 200), (2.5, 1.0, 1.0)), ((34, 180, 180), (5.0, 1.1, 1.1)), ((110, 150, 150), (1.5, 1.4, 1.4)))
"""Grids (z, y, x) and spacings the phantoms are drawn on, in turn."""
PATCH, BATCH, STEPS = 40, 4, 900
CHANNELS = (8, 16, 32)


def source(seed: int) -> tuple[Volume, np.ndarray]:
    """Make the phantom of `seed` (0 to 3 lesions) as a volume, with its truth."""
    shape, spacing = SOURCES[seed % len(SOURCES)]
    noise = (4.0, 6.0, 8.0)[(seed // 3) % 3]
    hu, truth = phantom.volume(seed, shape=shape, spacing_mm=spacing, lesions=seed % 4, noise_hu=noise)
    return as_volume(hu, spacing), truth


def as_volume(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> Volume:
    """Give an axial volume, LPS, with its first voxel at the origin."""
    positions = np.zeros((len(hu), 3))
    positions[:, 2] = np.arange(len(hu)) * spacing_mm[0]
    return Volume(
        voxels=hu.astype(np.float32),
        valid=np.ones(hu.shape, dtype=np.bool_),
        positions=positions,
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=spacing_mm[1:],
        slice_spacing_mm=spacing_mm[0],
        regular=True,
    )


def prepared(volume: Volume, truth: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Put a phantom and its truth on the network's grid."""
    laid = grid.lay(volume, orientation="LPS", spacing_mm=SPACING_MM)
    voxels = laid.sample(lambda z: intensity.apply_all(BEFORE, volume.voxels[z], volume.valid[z]))
    target = laid.sample(lambda z: truth[z].astype(np.float32))
    return intensity.apply_all(AFTER, voxels, np.ones(voxels.shape, dtype=np.bool_)), (target > 0.5).astype(np.float32)


def train() -> None:
    """Train with fixed seeds and write model.onnx."""
    import torch
    from torch import nn

    torch.manual_seed(20260101)
    random = np.random.default_rng(20260101)

    def block(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for size in (inputs, outputs):
            layers += [nn.Conv3d(size, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(True)]
        return nn.Sequential(*layers)

    class Net(nn.Module):
        """A U-Net of three levels; sigmoid is part of the graph."""

        def __init__(self) -> None:
            super().__init__()
            one, two, three = CHANNELS
            self.down1, self.down2, self.bottom = block(1, one), block(one, two), block(two, three)
            self.up2, self.up1 = block(three + two, two), block(two + one, one)
            self.head = nn.Conv3d(one, 1, 1)
            self.pool = nn.MaxPool3d(2)
            self.up = nn.Upsample(scale_factor=2, mode="nearest")

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            a = self.down1(x)
            b = self.down2(self.pool(a))
            c = self.bottom(self.pool(b))
            b = self.up2(torch.cat([self.up(c), b], 1))
            a = self.up1(torch.cat([self.up(b), a], 1))
            return self.head(a)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.logits(x))

    began = time.monotonic()
    heads = [prepared(*source(seed)) for seed in TRAIN_SEEDS]
    print(f"{len(heads)} phantoms in {time.monotonic() - began:.0f} s", flush=True)
    net = Net()
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=6e-3, total_steps=STEPS)
    for step in range(STEPS):
        pairs = [_patch(random, *heads[random.integers(len(heads))]) for _ in range(BATCH)]
        x = torch.from_numpy(np.stack([p[0] for p in pairs]))[:, None]
        y = torch.from_numpy(np.stack([p[1] for p in pairs]))[:, None]
        logits = net.logits(x)
        p = torch.sigmoid(logits)
        dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        loss = dice + nn.functional.binary_cross_entropy_with_logits(logits, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.3f} dice {1 - dice.item():.3f} {time.monotonic() - began:.0f} s", flush=True)
    net.eval()
    PACKAGE.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (torch.zeros(2, 1, 64, 64, 64),),
        str(PACKAGE / "model.onnx"),
        input_names=["image"],
        output_names=["probability"],
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    print(f"wrote {PACKAGE.name}/model.onnx, {(PACKAGE / 'model.onnx').stat().st_size} bytes", flush=True)


def _patch(random: np.random.Generator, voxels: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cut a patch, every second time around a lesion voxel, mirrored at random."""
    room = np.array(voxels.shape) - PATCH
    marked = np.argwhere(target) if random.random() < 0.5 else np.empty((0, 3))
    if len(marked):
        corner = marked[random.integers(len(marked))] - random.integers(4, PATCH - 4, size=3)
    else:
        corner = random.integers(0, np.maximum(room, 0) + 1)
    z, y, x = np.clip(corner, 0, np.maximum(room, 0))
    part = (slice(z, z + PATCH), slice(y, y + PATCH), slice(x, x + PATCH))
    flips = tuple(slice(None, None, -1 if random.random() < 0.5 else 1) for _ in range(3))
    return np.ascontiguousarray(voxels[part][flips]), np.ascontiguousarray(target[part][flips])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "evaluate"])
    what = parser.parse_args().what
    train() if what == "train" else evaluate()


if __name__ == "__main__":
    main()
