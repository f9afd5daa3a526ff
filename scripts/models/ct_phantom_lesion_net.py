# mypy: ignore-errors
# (torch is only there where the network is trained, not where the types are checked)
"""The network of ct-phantom-lesion, its training and its export. Needs torch; see ct_phantom_lesion.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from training import descend, write

CHANNELS = (8, 16, 32)
SEED = 20260101
PATCH, BATCH, STEPS = 40, 4, 1500
LEARNING_RATE_MAX = 6e-3
EXPORT_PATCH = 64


class Net(nn.Module):
    """A U-Net of three levels; `forward` gives probabilities, so the sigmoid is part of the graph."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = CHANNELS
        self.down1, self.down2, self.bottom = block(1, one), block(one, two), block(two, three)
        self.up2, self.up1 = block(three + two, two), block(two + one, one)
        self.head = nn.Conv3d(one, 1, 1)
        self.pool = nn.MaxPool3d(2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 1, z, y, x) to logits of the same shape."""
        fine = self.down1(x)
        middle = self.down2(self.pool(fine))
        coarse = self.bottom(self.pool(middle))
        middle = self.up2(torch.cat([self.up(coarse), middle], 1))
        fine = self.up1(torch.cat([self.up(middle), fine], 1))
        return self.head(fine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 1, z, y, x) to probabilities of the same shape."""
        return torch.sigmoid(self.logits(x))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Give two convolutions, each with batch normalisation (folded away at export) and ReLU."""
    layers = []
    for size in (inputs, outputs):
        layers += [nn.Conv3d(size, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(True)]
    return nn.Sequential(*layers)


def fit(heads: Sequence[tuple[np.ndarray, np.ndarray]]) -> Net:
    """Train on (voxels, target) pairs, float32 (z, y, x), with fixed seeds; prints its progress."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    net = Net()
    descend(
        net,
        lambda: loss_of(net, *batch(random, heads)),
        steps=STEPS,
        learning_rate_max=LEARNING_RATE_MAX,
        weight_decay=1e-4,
        told_every=50,
    )
    return net.eval()


def loss_of(net: Net, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Give soft Dice loss over the batch plus cross entropy."""
    logits = net.logits(x)
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return dice + nn.functional.binary_cross_entropy_with_logits(logits, y)


def batch(
    random: np.random.Generator, heads: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw patches from random heads: two tensors (n, 1, z, y, x)."""
    pairs = [cut(random, *heads[random.integers(len(heads))]) for _ in range(BATCH)]
    x, y = (torch.from_numpy(np.stack(side))[:, None] for side in zip(*pairs, strict=True))
    return x, y


def cut(random: np.random.Generator, voxels: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut one patch, every second time around a lesion voxel where there is one, mirrored at random."""
    room = np.array(voxels.shape) - PATCH
    marked = np.argwhere(target) if random.random() < 0.5 else np.empty((0, 3))
    if len(marked):
        corner = marked[random.integers(len(marked))] - random.integers(4, PATCH - 4, size=3)
    else:
        corner = random.integers(0, room + 1)
    z, y, x = np.clip(corner, 0, room)
    part = (slice(z, z + PATCH), slice(y, y + PATCH), slice(x, x + PATCH))
    mirror = tuple(slice(None, None, -1 if random.random() < 0.5 else 1) for _ in range(3))
    return np.ascontiguousarray(voxels[part][mirror]), np.ascontiguousarray(target[part][mirror])


def export(net: Net, path: Path) -> None:
    """Write the network as ONNX with its weights inside: image (batch, 1, 64, 64, 64) -> probability."""
    write(net, path, (EXPORT_PATCH, EXPORT_PATCH, EXPORT_PATCH), ["probability"])
