"""What a network declares of its inputs and outputs, held against its manifest.

An axis the network leaves open takes any size; one it fixes must be what the manifest feeds or reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx import ModelProto, TensorProto, ValueInfoProto

from models.manifest import Manifest
from models.manifest_outputs import Output

Sizes = tuple[int | None, ...]
"""One per axis; None takes any."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Hold what the manifest says of one tensor: types and shapes it may have."""

    name: str
    side: str
    dtypes: tuple[str, ...]
    shapes: tuple[Sizes, ...]


def tensor_faults(model: ModelProto, manifest: Manifest) -> Iterator[str]:
    """List what does not fit, inputs first."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    fed = _Wanted(
        name=manifest.input.tensor,
        side="input",
        dtypes=(manifest.input.dtype,),
        shapes=((_any_batch(manifest), _channels(manifest), *_axes(manifest)),),
    )
    yield from _one(inputs, fed)
    yield from _batch_faults(inputs, manifest)
    for value in inputs:
        if value.name != manifest.input.tensor:
            yield f"has the input {value.name!r}, which the manifest does not feed"
    for output in manifest.answers:
        for wanted in _wanted(output, manifest):
            yield from _one(outputs, wanted)


def _any_batch(manifest: Manifest) -> int | None:
    return 1 if manifest.input.layout == "volume" else None


def _channels(manifest: Manifest) -> int:
    return len(manifest.channels) or 1


def _axes(manifest: Manifest) -> Sizes:
    """Give the sizes the network is fed, without batch and channels."""
    given = manifest.input
    if given.layout == "slice":
        return (None, None)
    if given.layout == "image":
        return given.size or (None, None)
    return given.patch or given.size or (None, None, None)


def _wanted(output: Output, manifest: Manifest) -> Iterator[_Wanted]:
    """Give every tensor an output reads, with the shapes it may have."""
    batch, axes = _any_batch(manifest), _axes(manifest)
    if output.kind == "boxes":
        yield from _wanted_boxes(output, batch, alone=manifest.input.batch == 1, numbers=2 * len(axes))
        return
    shape: Sizes = (batch, output.width)
    if output.kind == "labels":
        shape = (batch, 1, *axes)
    elif output.kind in ("probability", "classes"):
        shape = (batch, output.width, *axes)
    yield _Wanted(name=output.tensor, side="output", dtypes=(output.dtype,), shapes=(shape,))


def _wanted_boxes(output: Output, batch: int | None, *, alone: bool, numbers: int) -> Iterator[_Wanted]:
    """Boxes come with a batch axis, or without it where one input goes in at a time."""
    per_box: list[Sizes] = [()] if output.box_labels or output.width == 1 else []
    if not output.box_labels:
        per_box.append((output.width,))
    fronts: list[Sizes] = [(batch, None), *([(None,)] if alone else [])]
    scores = tuple((*front, *behind) for front in fronts for behind in per_box)
    places = tuple((*front, numbers) for front in fronts)
    yield _Wanted(name=output.tensor, side="output", dtypes=(output.dtype,), shapes=places)
    yield _Wanted(name=output.box_scores or "", side="output", dtypes=(output.dtype,), shapes=scores)
    if output.box_labels:
        whole = ("int64", "int32", "uint8")
        yield _Wanted(name=output.box_labels, side="output", dtypes=whole, shapes=tuple(fronts))


def _one(values: Sequence[ValueInfoProto], wanted: _Wanted) -> Iterator[str]:
    value = next((value for value in values if value.name == wanted.name), None)
    called = f"{wanted.side} {wanted.name!r}"
    if value is None:
        present = ", ".join(value.name for value in values) or "none"
        yield f"has no {called}; it has: {present}"
        return
    tensor = value.type.tensor_type
    found = _dtype(tensor.elem_type)
    if found not in wanted.dtypes:
        yield f"{called} is {found}; the manifest says {' or '.join(wanted.dtypes)}"
    if not tensor.HasField("shape"):
        yield f"{called} has no shape; export it with named dynamic axes"
        return
    yield from _shape_faults(_sizes(value), wanted, called)


def _shape_faults(sizes: Sizes, wanted: _Wanted, called: str) -> Iterator[str]:
    same_rank = [shape for shape in wanted.shapes if len(shape) == len(sizes)]
    if not same_rank:
        ranks = " or ".join(str(rank) for rank in sorted({len(shape) for shape in wanted.shapes}))
        yield f"{called} has {len(sizes)} axes; its layout has {ranks}"
    elif not any(_fits(sizes, shape) for shape in same_rank):
        yield f"{called} is {_written(sizes)}; the manifest says {_written(same_rank[0])}"


def _fits(sizes: Sizes, shape: Sizes) -> bool:
    pairs = zip(sizes, shape, strict=True)
    return all(found is None or said is None or found == said for found, said in pairs)


def _batch_faults(inputs: Sequence[ValueInfoProto], manifest: Manifest) -> Iterator[str]:
    """A fixed first axis takes exactly so many; the last call of a series has fewer."""
    value = next((value for value in inputs if value.name == manifest.input.tensor), None)
    first = _sizes(value)[:1] if value is not None else ()
    if not first or first[0] is None or manifest.input.layout == "volume":
        return
    if first[0] != 1:
        yield (
            f"input {value.name!r} takes exactly {first[0]} at a time; "  # type: ignore[union-attr]
            "export it with a named first axis, or with 1"
        )
    elif manifest.input.batch != 1:
        yield f"input {manifest.input.tensor!r} takes 1 at a time; the manifest feeds {manifest.input.batch}"


def _sizes(value: ValueInfoProto) -> Sizes:
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else None for axis in value.type.tensor_type.shape.dim
    )


def _written(sizes: Sizes) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in sizes)})"


def _dtype(element: int) -> str:
    """Write an ONNX element type as numpy does, or as ONNX does where numpy has no such type."""
    written = str(TensorProto.DataType.Name(element)).lower()
    return {"float": "float32", "double": "float64"}.get(written, written)
