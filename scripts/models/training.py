# mypy: ignore-errors
# (torch is only there where the network is trained, not where the types are checked)
"""What the networks that ship share: how they are trained, and how they are written. Needs torch."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

OPSET = 18


def descend(
    net: nn.Module,
    loss_of_a_step: Callable[[], torch.Tensor],
    *,
    steps: int,
    learning_rate_max: float,
    weight_decay: float,
    told_every: int,
) -> None:
    """Train for so many steps with one cycle of the learning rate; prints its progress."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate_max, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate_max, total_steps=steps)
    began, recent = time.monotonic(), []
    for step in range(1, steps + 1):
        loss = loss_of_a_step()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        recent = [*recent[-49:], loss.item()]
        if step % told_every == 0:
            seconds = time.monotonic() - began
            print(f"step {step}/{steps} loss {np.mean(recent):.4f} {seconds:.0f} s", flush=True)


def write(
    net: nn.Module, path: Path, size: Sequence[int], outputs: Sequence[str], *, batch_open: bool = True
) -> None:
    """Write a network as ONNX with its weights inside: image (batch, 1, *size) -> outputs.

    Where the batch is not open it is 1.
    """
    batch = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=64)},)} if batch_open else {}
    torch.onnx.export(
        net,
        (torch.zeros(2 if batch_open else 1, 1, *size),),
        str(path),
        input_names=["image"],
        output_names=list(outputs),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
        **batch,
    )
    strip(path)


def strip(path: Path) -> None:
    """Take the exporter's notes out of the file: stack traces and paths of the machine it ran on."""
    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name, model.producer_version, model.doc_string = "readside", "", ""
    onnx.save(model, path)
