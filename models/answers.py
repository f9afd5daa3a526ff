"""Take a network's answer only as what its manifest says it is.

Promises: shape, finite values and the range of probabilities are checked before anything reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.manifest import Manifest
from models.manifest_outputs import Output
from models.operations.patches import Infer, Tensors
from models.tensors import DoubleArray, FloatArray, LabelArray

SLACK = 1e-3
"""How far beyond 0 and 1 rounding in half precision may carry a probability."""


class AnswerError(RuntimeError):
    """The network's answer is not what its manifest says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Hold the boxes of one slice, patch or volume as the network drew them.

    Attributes:
        corners: float64, (m, 4) as y, x, y, x or (m, 6) as z, y, x, z, y, x; pixels of what it was fed.
        values: int64, (m,): label values.
        scores: float64, (m,): 0-1.
    """

    corners: DoubleArray
    values: npt.NDArray[np.int64]
    scores: DoubleArray


def ask(manifest: Manifest, batch: FloatArray, infer: Infer) -> Tensors:
    """Run the network once.

    Raises:
        AnswerError: an output the manifest reads is not among the answers.
    """
    given = np.ascontiguousarray(batch, dtype=manifest.input.dtype)
    answers = infer({manifest.input.tensor: given})
    for output in manifest.answers:
        for tensor in output.tensors:
            if tensor not in answers:
                raise AnswerError(f"the network gave no output named {tensor!r}")
    return answers


def label_map(answers: Tensors, output: Output, shape: tuple[int, ...]) -> LabelArray:
    """Read kind "labels": (n, *axes), `shape` without the channel."""
    answer = _shaped(answers[output.tensor], (shape[0], 1, *shape[1:]), f"for {shape[0]} slices")
    known = max(label.value for label in output.labels)
    if int(answer.max()) > known or int(answer.min()) < 0:
        raise AnswerError("the network answered with a label its manifest does not know")
    return np.asarray(answer[:, 0], dtype=np.uint8)


def dense(answers: Tensors, output: Output, shape: tuple[int, ...]) -> FloatArray:
    """Read kinds "probability" and "classes" as they came: (n, channels, *axes), `shape` without channels."""
    wanted = (shape[0], output.width, *shape[1:])
    field = _floats(_shaped(answers[output.tensor], wanted, f"for a batch of {shape}"))
    _finite(field)
    return field


def activated(field: FloatArray, output: Output, *, axis: int) -> FloatArray:
    """Turn what came into probabilities, in its place.

    Raises:
        AnswerError: they are outside 0-1. Classes that are only compared may be anything.
    """
    if output.activation == "sigmoid":
        _sigmoid(field)
        return field
    if output.activation == "softmax":
        field -= field.max(axis=axis, keepdims=True)
        np.exp(field, out=field)
        field /= field.sum(axis=axis, keepdims=True)
        return field
    if output.kind != "classes":
        check_share(field)
    return field


def check_share(values: npt.NDArray[Any]) -> None:
    """Refuse what is no probability.

    Raises:
        AnswerError: a value beyond 0 or 1.
    """
    if values.size and not (float(values.min()) >= -SLACK and float(values.max()) <= 1 + SLACK):
        raise AnswerError(
            "the network answered with a probability outside 0 to 1; its output may need an activation"
        )


def rows(answers: Tensors, output: Output, count: int) -> FloatArray:
    """Read kinds "scores" and "values": float32, (n, width), probabilities where they are scores."""
    answer = _shaped(answers[output.tensor], (count, output.width), f"for {count}")
    read = _floats(answer)
    _finite(read)
    return np.clip(activated(read, output, axis=1), 0, 1) if output.kind == "scores" else read


def boxes(answers: Tensors, output: Output, count: int, size: tuple[int, ...]) -> list[Drawn]:
    """Read kind "boxes" of each of `count` inputs of `size`, in pixels."""
    assert output.box_scores is not None, "the manifest's rules ask for it"
    corners, scores = _floats(answers[output.tensor]), _floats(answers[output.box_scores])
    named = None if output.box_labels is None else answers[output.box_labels]
    if corners.ndim == 2 and count == 1:
        corners, scores = corners[None], scores[None]
        named = None if named is None else named[None]
    numbers = 2 * len(size)
    if corners.ndim != 3 or len(corners) != count or corners.shape[2] != numbers:
        raise AnswerError(f"the network answered with boxes of shape {corners.shape} for {count}")
    _finite(corners)
    _finite(scores)
    return [
        _drawn(
            output,
            corners[n],
            scores[n] if len(scores) == count else scores,
            size,
            None if named is None else named[n],
        )
        for n in range(count)
    ]


def _drawn(
    output: Output,
    corners: FloatArray,
    scores: FloatArray,
    size: tuple[int, ...],
    named: npt.NDArray[Any] | None,
) -> Drawn:
    """Give every box one label; without labels of their own each box is judged for each label."""
    placed = _corners(output, corners.astype(np.float64), size)
    if named is not None:
        if named.shape != (len(placed),) or scores.shape != (len(placed),):
            raise AnswerError("the network gave boxes, scores and labels of different numbers")
        shares = np.clip(activated(scores, output, axis=0), 0, 1)
        return Drawn(corners=placed, values=named.astype(np.int64), scores=shares.astype(np.float64))
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.shape != (len(placed), output.width):
        raise AnswerError(f"the network answered with scores of shape {scores.shape} for {len(placed)} boxes")
    shares = np.clip(activated(scores, output, axis=1), 0, 1)
    values = np.array([label.value for label in output.labels], dtype=np.int64)
    return Drawn(
        corners=np.repeat(placed, len(values), axis=0),
        values=np.tile(values, len(placed)),
        scores=shares[:, values].astype(np.float64).ravel(),
    )


_ORDERS: Mapping[str, tuple[int, ...]] = {
    "yxyx": (0, 1, 2, 3),
    "xyxy": (1, 0, 3, 2),
    "zyxzyx": (0, 1, 2, 3, 4, 5),
    "xyzxyz": (2, 1, 0, 5, 4, 3),
}


def _corners(output: Output, corners: DoubleArray, size: tuple[int, ...]) -> DoubleArray:
    """Put corners in the order z, y, x and into pixels."""
    if output.coordinates == "cxcywh":
        x, y, width, height = corners.T
        corners = np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=1)
    else:
        corners = corners[:, _ORDERS[output.coordinates or "yxyx"]]
    return corners * np.array((*size, *size)) if output.scale == "share" else corners


def _shaped(answer: npt.NDArray[Any], shape: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    if answer.shape != shape:
        raise AnswerError(f"the network answered with shape {answer.shape} {what}, not {shape}")
    return answer


def _floats(answer: npt.NDArray[Any]) -> FloatArray:
    """Give float32 that may be changed; a view of memory that is not the answer's own is copied.

    An engine may reuse it; what is not writeable is read again by others.
    """
    read = np.asarray(answer, dtype=np.float32)
    return read if read.flags.owndata and read.flags.writeable else read.copy()


def _finite(values: FloatArray) -> None:
    # The sum carries NaN and infinity along in one pass; only a sum that is not finite is looked into.
    with np.errstate(over="ignore", invalid="ignore"):
        whole = values.sum()
    if not np.isfinite(whole) and not np.isfinite(values).all():
        raise AnswerError("the network answered with values that are not finite (NaN or infinity)")


def _sigmoid(values: FloatArray) -> None:
    """Put 1 / (1 + exp(-v)) in place of v, without overflow."""
    values *= np.float32(0.5)
    np.tanh(values, out=values)
    values += 1
    values *= np.float32(0.5)
