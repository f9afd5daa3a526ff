# mypy: ignore-errors
# (torch is only there where the network is trained, not where the types are checked)
"""The network of mr-phantom-compartments, its training and its export.

Needs torch; see mr_phantom_compartments.py.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from training import descend, write

CHANNELS = 8
# How far apart the taps of each convolution are: no pooling, so nothing small is lost.
REACHES = (1, 1, 2, 4, 2, 1)
CLASSES, VENTRICLE = 4, 3
SEED = 20260104
STEPS = 350
BLOCK = (28, 40, 32)
LEARNING_RATE_MAX = 1e-2
Head = tuple[np.ndarray, np.ndarray]


class Net(nn.Module):
    """Convolutions to one channel per compartment, and a number read off the same channels.

    The number is the share of the ventricles in the brain, summed over probabilities, and then put right by a
    line through the heads it was trained on: a voxel half in a ventricle counts as half.
    """

    def __init__(self) -> None:
        super().__init__()
        layers, inputs = [], 1
        for reach in REACHES:
            layers += [nn.Conv3d(inputs, CHANNELS, 3, padding=reach, dilation=reach, bias=False)]
            layers += [nn.BatchNorm3d(CHANNELS), nn.ReLU(True)]
            inputs = CHANNELS
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv3d(CHANNELS, CLASSES, 1)
        self.line = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (n, 1, z, y, x) to logits (n, 4, z, y, x) and the percentage (n, 1)."""
        logits = self.head(self.body(x))
        shares = torch.softmax(logits, 1).mean((2, 3, 4))
        ratio = shares[:, VENTRICLE:] / (1 - shares[:, :1] + 1e-6)
        return logits, 100 * ratio * self.line[0] + self.line[1]


def fit(heads: Sequence[Head]) -> Net:
    """Train on (voxels (z, y, x), shares (4, z, y, x)) pairs, with fixed seeds; prints its progress."""
    torch.set_num_threads(1)  # sums come out in one order, whatever the machine is doing
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    net = Net()
    descend(
        net,
        lambda: loss_of(net, *cut(random, *heads[random.integers(len(heads))])),
        steps=STEPS,
        learning_rate_max=LEARNING_RATE_MAX,
        weight_decay=1e-4,
        told_every=50,
    )
    settle(net.eval(), heads)
    return net


def settle(net: Net, heads: Sequence[Head]) -> None:
    """Lay the line anew through the percentages of the whole heads: cut-outs have others."""
    with torch.no_grad():
        net.line.copy_(torch.tensor([1.0, 0.0]))
        given = [net(torch.from_numpy(voxels)[None, None])[1].item() for voxels, _ in heads]
        true = [100 * float(shares[VENTRICLE].sum() / shares[1:].sum()) for _, shares in heads]
        net.line.copy_(torch.from_numpy(np.polyfit(given, true, 1)))


def loss_of(net: Net, x: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Give cross entropy, one minus the ventricles' soft overlap, and how far the number is off."""
    logits, number = net(x)
    p, y = torch.softmax(logits, 1)[:, VENTRICLE], shares[:, VENTRICLE]
    overlap = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    true = 100 * y.sum() / (shares[:, 1:].sum() + 1)
    off = nn.functional.smooth_l1_loss(number, true.reshape(1, 1))
    return nn.functional.cross_entropy(logits, shares) + 1 - overlap + 0.05 * off


def cut(
    random: np.random.Generator, voxels: np.ndarray, shares: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one block around a voxel of the brain, mirrored at random and a little brighter or darker."""
    inside = np.argwhere(shares[0] < 0.5)
    room = np.maximum(np.array(voxels.shape) - BLOCK, 0)
    corner = np.clip(inside[random.integers(len(inside))] - np.array(BLOCK) // 2, 0, room)
    part = tuple(slice(low, low + size) for low, size in zip(corner, BLOCK, strict=True))
    mirror = tuple(slice(None, None, -1 if random.random() < 0.5 else 1) for _ in range(3))
    block = np.ascontiguousarray(voxels[part][mirror]) * np.float32(random.uniform(0.9, 1.1))
    truth = np.ascontiguousarray(shares[(slice(None), *part)][(slice(None), *mirror)])
    return torch.from_numpy(block)[None, None], torch.from_numpy(truth)[None]


def export(net: Net, path: Path, size: tuple[int, ...]) -> None:
    """Write the network as ONNX with its weights inside: image (1, 1, *size) -> compartments, figures."""
    write(net, path, size, ["compartments", "figures"], batch_open=False)
