"""In which shapes a network will be fed: from the manifest, the graph, and bounds where neither says.

One place, because an engine that is built for shapes (TensorRT) and one that is only warmed up in them must
agree on what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import Port
from models.manifest import Manifest

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ShapeRange:
    """What one input's shape may be: at least, as a rule, at most; axis by axis."""

    least: Shape
    usual: Shape
    most: Shape

    @property
    def fixed(self) -> bool:
        """Say whether there is only one shape."""
        return self.least == self.most

    def admits(self, shape: Shape) -> bool:
        """Say whether an array of this shape may be fed."""
        return len(shape) == len(self.least) and all(
            low <= side <= high for low, side, high in zip(self.least, shape, self.most, strict=True)
        )

    def __str__(self) -> str:
        """Write it as builders of engines do: 1x1x64x64..8x1x512x512."""
        return f"{_written(self.least)}..{_written(self.usual)}..{_written(self.most)}"


def ranges_of(ports: Iterable[Port], manifest: Manifest, limits: InferenceLimits) -> dict[str, ShapeRange]:
    """Give the shapes of every input, by name.

    An axis the graph fixes stays as it is. Open ones: the first is the batch, the second the channels, the
    rest are the manifest's patch or size, or anything from a small picture to the largest the limits allow.
    """
    return {port.name: _range(port, manifest, limits) for port in ports}


def warm_up_shapes(ports: Iterable[Port], manifest: Manifest, limits: InferenceLimits) -> dict[str, Shape]:
    """Give a shape to run an engine in once that needs none in particular: small where nothing is fixed."""
    small = replace(
        limits,
        profile_side_min=limits.warm_up_side,
        profile_side=limits.warm_up_side,
        profile_volume_side=limits.warm_up_side,
    )
    return {
        name: (1, *shape.usual[1:]) if shape.least[:1] == (1,) else shape.usual
        for name, shape in ranges_of(ports, manifest, small).items()
    }


def check(shapes: Mapping[str, Shape], ranges: Mapping[str, ShapeRange]) -> None:
    """Refuse arrays outside the ranges an engine was built for.

    Raises:
        InferenceError: inference.failed.
    """
    for name, shape in shapes.items():
        if name not in ranges:
            raise InferenceError("inference.failed", f"The engine has no input {name!r}.")
        if not ranges[name].admits(shape):
            raise InferenceError(
                "inference.failed",
                f"Input {name!r} of shape {_written(shape)} is outside what the engine was built for "
                f"({ranges[name]}).",
            )


def _range(port: Port, manifest: Manifest, limits: InferenceLimits) -> ShapeRange:
    axes = [
        (side, side, side) if side is not None else _axis(axis, manifest, limits)
        for axis, side in enumerate(port.shape)
    ]
    least, usual, most = ((tuple(axis[n] for axis in axes)) for n in range(3))
    return ShapeRange(least=least, usual=usual, most=most)


def _axis(axis: int, manifest: Manifest, limits: InferenceLimits) -> tuple[int, int, int]:
    given = manifest.input
    if axis == 0:
        return 1, given.batch, max(given.batch, limits.profile_batch_max)
    if axis == 1:
        channels = max(len(manifest.channels), 1)
        return channels, channels, channels
    fixed = given.patch or given.size or ()
    if axis - 2 < len(fixed):
        side = fixed[axis - 2]
        return side, side, side
    if given.layout == "volume":
        return limits.profile_side_min, limits.profile_volume_side, limits.profile_volume_side_max
    return limits.profile_side_min, limits.profile_side, limits.profile_side_max


def _written(shape: Shape) -> str:
    return "x".join(str(side) for side in shape)
