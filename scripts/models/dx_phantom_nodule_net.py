# mypy: ignore-errors
# (torch is only there where the network is trained, not where the types are checked)
"""The network of dx-phantom-nodule, its training and its export. Needs torch; see dx_phantom_nodule.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from dx_phantom_marker_net import block
from torch import nn
from training import descend, write

CHANNELS = (8, 16, 32)
SEED = 20260103
BATCH, STEPS = 8, 600
# Training sees cut-outs of this many rows and columns.
CUT = 128
LEARNING_RATE_MAX = 6e-3
# Each cell of the map looks after this many input pixels each way.
STRIDE = 4
Image = tuple[np.ndarray, np.ndarray]


class Net(nn.Module):
    """A map of cells, each with a score and its distances to the four sides of a box around it."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        one, two, three = CHANNELS
        self.body = nn.Sequential(
            *block(1, one), nn.MaxPool2d(2),
            *block(one, two), *block(two, two), nn.MaxPool2d(2),
            *block(two, three), *wide(three, 2), *wide(three, 4), *block(three, three),
        )  # fmt: skip
        self.score, self.reach = nn.Conv2d(three, 1, 1), nn.Conv2d(three, 4, 1)
        nn.init.constant_(self.score.bias, -4.0)
        rows, columns = (torch.arange(side // STRIDE) * STRIDE + STRIDE / 2 for side in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        self.register_buffer("middles", torch.stack([y, x, y, x])[None])
        self.register_buffer("way", torch.tensor([-1.0, -1.0, 1.0, 1.0])[None, :, None, None])

    def cells(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (n, 1, y, x) to logits (n, 1, y / 4, x / 4) and boxes (n, 4, y / 4, x / 4)."""
        seen = self.body(x)
        reach = nn.functional.softplus(self.reach(seen)) * (2 * STRIDE)
        middles = self.middles[:, :, : seen.shape[2], : seen.shape[3]]
        return self.score(seen), middles + self.way * reach

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (n, 1, y, x) to boxes (n, cells, 4) as top, left, bottom, right, and scores (n, cells, 1)."""
        logits, boxes = self.cells(x)
        return boxes.flatten(2).transpose(1, 2), torch.sigmoid(logits).flatten(2).transpose(1, 2)


def wide(channels: int, step: int) -> list[nn.Module]:
    """Give a convolution that looks `step` times as far, with batch normalisation and ReLU."""
    spread = nn.Conv2d(channels, channels, 3, padding=step, dilation=step, bias=False)
    return [spread, nn.BatchNorm2d(channels), nn.ReLU(True)]


def fit(images: Sequence[Image], size: tuple[int, int]) -> Net:
    """Train on (pixels (y, x), boxes (n, 4)) pairs, float32, with fixed seeds; prints its progress."""
    torch.set_num_threads(1)  # sums come out in one order, whatever the machine is doing
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    net = Net(size)
    descend(
        net,
        lambda: loss_of(net, *batch(random, images)),
        steps=STEPS,
        learning_rate_max=LEARNING_RATE_MAX,
        weight_decay=1e-3,
        told_every=100,
    )
    return net.eval()


def loss_of(net: Net, x: torch.Tensor, heat: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Give the focal loss of the scores plus how far the sides are off, where a cell is near a middle."""
    logits, found = net.cells(x)
    p = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    hit = heat > 0.6
    near = hit.sum().clamp(min=1)
    yes = -((1 - p) ** 2 * torch.log(p))[hit].sum()
    no = -((1 - heat) ** 4 * p**2 * torch.log(1 - p))[~hit].sum()
    off = (torch.abs(found - boxes) * hit).sum() / (4 * STRIDE)
    return (yes + no + off) / near


def batch(
    random: np.random.Generator, images: Sequence[Image]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw cut-outs, each mirrored at random and a little brighter or darker, with their targets."""
    drawn = [mirrored(random, *cut(random, *images[n])) for n in random.integers(len(images), size=BATCH)]
    targets = [wanted(boxes) for _, boxes in drawn]
    x = np.stack([pixels for pixels, _ in drawn])[:, None]
    x = x * random.uniform(0.9, 1.1, (BATCH, 1, 1, 1)) + random.uniform(-0.05, 0.05, (BATCH, 1, 1, 1))
    heat, boxes = (np.stack(side) for side in zip(*targets, strict=True))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(heat[:, None]), torch.from_numpy(boxes)


def cut(random: np.random.Generator, pixels: np.ndarray, boxes: np.ndarray) -> Image:
    """Cut a part out, with the boxes whose middle lies in it."""
    corner = random.integers(np.array(pixels.shape) - CUT + 1)
    moved = boxes - np.tile(corner, 2).astype(np.float32)
    middles = (moved[:, :2] + moved[:, 2:]) / 2
    inside = ((middles > 0) & (middles < CUT)).all(axis=1)
    top, left = corner
    return pixels[top : top + CUT, left : left + CUT], moved[inside]


def mirrored(random: np.random.Generator, pixels: np.ndarray, boxes: np.ndarray) -> Image:
    """Mirror a cut-out and its boxes up-down and left-right, each every second time."""
    for axis in (0, 1):
        if random.random() < 0.5:
            pixels, boxes = np.flip(pixels, axis), boxes.copy()
            boxes[:, [axis, axis + 2]] = CUT - boxes[:, [axis + 2, axis]]
    return np.ascontiguousarray(pixels), boxes


def wanted(boxes: np.ndarray) -> Image:
    """Give what each cell should say: heat (y, x), 1 amid a box, and the nearest box (4, y, x)."""
    y, x = np.mgrid[: CUT // STRIDE, : CUT // STRIDE] * STRIDE + STRIDE / 2
    heat, nearest = np.zeros(y.shape, np.float32), np.zeros((4, *y.shape), np.float32)
    for box in boxes:
        middle, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        spread = np.maximum(sides / 3, STRIDE * 0.6)
        bell = np.exp(-0.5 * (((y - middle[0]) / spread[0]) ** 2 + ((x - middle[1]) / spread[1]) ** 2))
        bell = bell / bell.max()  # the cell nearest to the middle says 1, wherever in it the middle lies
        closer = bell > heat
        heat[closer] = bell[closer]
        nearest[:, closer] = box[:, None]
    return heat, nearest


def export(net: Net, path: Path, size: tuple[int, int]) -> None:
    """Write the network as ONNX with its weights inside: image (batch, 1, *size) -> boxes and scores."""
    write(net, path, size, ["boxes", "scores"])
