"""Make the network and the golden cases of models/library/ct-tissue-bands.

    python scripts/models/ct_tissue_bands.py

There is nothing to train: the graph compares each voxel with the edges of the bands.
Run it from the repository root. Nothing in the product imports it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import golden, phantom  # noqa: E402  the repository root must be on the path first
from models.analysis import analyse  # noqa: E402
from models.manifest import load  # noqa: E402
from models.package import Package, open_package  # noqa: E402
from models.tensors import Volume  # noqa: E402

PACKAGE = ROOT / "models" / "library" / "ct-tissue-bands"
# Label number: half-open band [low, high) in HU; None is without end.
BANDS: dict[int, tuple[float | None, float | None]] = {
    1: (None, -500.0),
    2: (-190.0, -30.0),
    3: (-30.0, 50.0),
    4: (50.0, 90.0),
    5: (300.0, None),
}
OPSET = 17


def graph() -> onnx.ModelProto:
    """Build the graph: image float32 (n, 1, y, x) in HU -> labels uint8 of the same shape."""
    nodes, weights = [], [helper.make_tensor("label_0", TensorProto.UINT8, [1], [0])]
    labels = "label_0"
    for number, (low, high) in BANDS.items():
        weights.append(helper.make_tensor(f"label_{number}", TensorProto.UINT8, [1], [number]))
        conditions = []
        for operator, edge in (("GreaterOrEqual", low), ("Less", high)):
            if edge is not None:
                weights.append(helper.make_tensor(f"{operator}_{number}", TensorProto.FLOAT, [1], [edge]))
                conditions.append(f"is_{operator}_{number}")
                nodes.append(helper.make_node(operator, ["image", f"{operator}_{number}"], conditions[-1:]))
        if len(conditions) == 2:
            nodes.append(helper.make_node("And", conditions, [f"in_{number}"]))
            conditions = [f"in_{number}"]
        result = "labels" if number == max(BANDS) else f"labels_to_{number}"
        nodes.append(helper.make_node("Where", [conditions[0], f"label_{number}", labels], [result]))
        labels = result
    shape: list[str | int | None] = ["n", 1, "y", "x"]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "ct-tissue-bands",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("labels", TensorProto.UINT8, shape)],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="readside",
    )


def cases() -> dict[str, Volume]:
    """Give three small synthetic series: every band edge with padding, a head, and slices with a gap."""
    ramp = np.arange(-1024, 1024, dtype=np.float32).reshape(2, 32, 32)
    edges = _axial(ramp, spacing_mm=(2.5, 0.7, 0.6))
    hu, _ = phantom.volume(11, shape=(10, 64, 64), spacing_mm=(5.0, 3.0, 3.0), lesions=1)
    head = _axial(hu.astype(np.float32), spacing_mm=(5.0, 3.0, 3.0))
    positions = head.positions.copy()
    positions[6:, 2] += 4.0
    gap = replace(head, positions=positions, regular=False, irregularity="a gap of 9.0 mm after slice 6")
    return {"edges": edges, "head": head, "gap": gap}


def _axial(voxels: np.ndarray, *, spacing_mm: tuple[float, float, float]) -> Volume:
    positions = np.zeros((len(voxels), 3))
    positions[:, 2] = np.arange(len(voxels)) * spacing_mm[0]
    valid = np.ones(voxels.shape, dtype=np.bool_)
    valid[:, 0, :5] = False
    return Volume(
        voxels=voxels,
        valid=valid,
        positions=positions,
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=spacing_mm[1:],
        slice_spacing_mm=spacing_mm[0],
        regular=True,
    )


def main() -> None:
    """Write the network, then record what it answers, then open the package as anyone would."""
    model = graph()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, PACKAGE / "model.onnx")
    session = onnxruntime.InferenceSession(PACKAGE / "model.onnx", providers=["CPUExecutionProvider"])
    unchecked = Package(root=PACKAGE, manifest=load(PACKAGE / "manifest.toml"), digest="")
    for name, volume in cases().items():
        findings = analyse(
            unchecked, volume, lambda given: {"labels": session.run(["labels"], dict(given))[0]}
        )
        golden.record(PACKAGE / "golden" / f"{name}.npz", volume, findings)
    print(open_package(PACKAGE).digest)


if __name__ == "__main__":
    main()
