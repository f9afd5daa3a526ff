# mypy: ignore-errors
# (torch is only there where the network is trained, not where the types are checked)
"""The network of dx-phantom-marker, its training and its export. Needs torch; see dx_phantom_marker.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from training import descend, write

CHANNELS = (8, 16, 24)
SEED = 20260102
BATCH, STEPS = 8, 600
# Training sees cut-outs of this many rows and columns.
CUT = 128
LEARNING_RATE_MAX = 8e-3
# Each place of the map looks after this many input pixels each way.
STRIDE = 4


class Net(nn.Module):
    """Convolutions to a map of logits, of which the highest is the image's; the sigmoid is in the graph."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = CHANNELS
        self.body = nn.Sequential(
            *block(1, one), nn.MaxPool2d(2),
            *block(one, two), *block(two, two), nn.MaxPool2d(2),
            *block(two, three), *block(three, three),
        )  # fmt: skip
        self.head = nn.Conv2d(three, 1, 1)

    def places(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 1, y, x) to logits (n, 1, y / 4, x / 4)."""
        return self.head(self.body(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 1, y, x) to the image's probability (n, 1)."""
        return torch.sigmoid(nn.functional.adaptive_max_pool2d(self.places(x), 1).flatten(1))


def block(inputs: int, outputs: int) -> list[nn.Module]:
    """Give a convolution with batch normalisation (folded away at export) and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]


def fit(images: Sequence[tuple[np.ndarray, np.ndarray]]) -> Net:
    """Train on (pixels, mask) pairs, float32 (y, x), with fixed seeds; prints its progress."""
    torch.set_num_threads(1)  # sums come out in one order, whatever the machine is doing
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    net = Net()
    descend(
        net,
        lambda: loss_of(net, *batch(random, images)),
        steps=STEPS,
        learning_rate_max=LEARNING_RATE_MAX,
        weight_decay=1e-3,
        told_every=100,
    )
    return net.eval()


def loss_of(net: Net, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give the image's cross entropy plus that of every place of the map."""
    places = net.places(x)
    wanted = nn.functional.max_pool2d(mask, STRIDE)
    entropy = nn.functional.binary_cross_entropy_with_logits
    weight = torch.tensor(8.0)
    whole = entropy(places.amax((1, 2, 3)), wanted.amax((1, 2, 3)))
    return whole + entropy(places, wanted, pos_weight=weight)


def batch(
    random: np.random.Generator, images: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw cut-outs, each mirrored at random and a little brighter or darker: two tensors (n, 1, y, x)."""
    xs, masks = [], []
    for number in random.integers(len(images), size=BATCH):
        mirror = tuple(slice(None, None, -1 if random.random() < 0.5 else 1) for _ in range(2))
        top, left = random.integers(np.array(images[number][0].shape) - CUT + 1)
        part = (slice(top, top + CUT), slice(left, left + CUT))
        x, mask = (side[part][mirror] for side in images[number])
        xs.append(x * np.float32(random.uniform(0.9, 1.1)) + np.float32(random.uniform(-0.05, 0.05)))
        masks.append(mask)
    x, mask = (torch.from_numpy(np.stack(side))[:, None] for side in (xs, masks))
    return x, mask


def export(net: Net, path: Path, size: tuple[int, int]) -> None:
    """Write the network as ONNX with its weights inside: image (batch, 1, *size) -> scores (batch, 1)."""
    write(net, path, size, ["scores"])
