"""The shapes an engine is built for come from the graph, then the manifest, then bounds."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import Port
from appliance.inference.shapes import ShapeRange, check, ranges_of, warm_up_shapes
from models.manifest import Manifest
from models.manifest_sections import Channel
from tests.appliance.inference.given import bands

LIMITS = InferenceLimits()


def manifest(**given: object) -> Manifest:
    """The tissue bands' manifest with other words on its input."""
    whole = bands().manifest
    channels = given.pop("channels", ())
    return whole.model_copy(update={"input": whole.input.model_copy(update=given), "channels": channels})


def port(*shape: int | None) -> Port:
    return Port(name="image", dtype=np.dtype(np.float32), shape=shape)


def range_of(shape: Port, **given: object) -> str:
    return str(ranges_of([shape], manifest(**given), LIMITS)["image"])


def test_what_the_graph_fixes_stays():
    found = ranges_of([port(2, 1, 64, 64)], manifest(batch=8), LIMITS)["image"]
    assert found.fixed
    assert str(found) == "2x1x64x64..2x1x64x64..2x1x64x64"


@pytest.mark.parametrize(
    ("shape", "given", "says"),
    [
        (port(None, 1, None, None), {"batch": 2}, "1x1x16x16..2x1x512x512..8x1x1024x1024"),
        (port(None, 1, None, None), {"batch": 12}, "1x1x16x16..12x1x512x512..12x1x1024x1024"),
        (
            port(None, 1, None, None, None),
            {"batch": 2, "layout": "patch", "patch": (96, 64, 32)},
            "1x1x96x64x32..2x1x96x64x32..8x1x96x64x32",
        ),
        (
            port(None, None, None, None),
            {"batch": 1, "layout": "image", "size": (320, 256), "channels": (Channel(name="a"),) * 3},
            "1x3x320x256..1x3x320x256..8x3x320x256",
        ),
        (
            port(1, 1, None, None, None),
            {"layout": "volume"},
            "1x1x16x16x16..1x1x128x128x128..1x1x512x512x512",
        ),
        (
            port(1, 1, None, None, None),
            {"layout": "volume", "size": (32, 48, 64)},
            "1x1x32x48x64..1x1x32x48x64..1x1x32x48x64",
        ),
    ],
    ids=["slices", "large batch", "patches", "images", "volume", "resized volume"],
)
def test_open_axes_come_from_the_manifest_then_from_bounds(shape: Port, given: dict, says: str):
    assert range_of(shape, **given) == says


def test_a_warm_up_is_small_where_nothing_is_fixed():
    assert warm_up_shapes([port(None, 1, None, None)], manifest(batch=8), LIMITS) == {"image": (1, 1, 64, 64)}
    patch = manifest(batch=8, layout="patch", patch=(8, 8, 8))
    assert warm_up_shapes([port(None, 1, None, None, None)], patch, LIMITS) == {"image": (1, 1, 8, 8, 8)}
    assert warm_up_shapes([port(4, 1, 32, 32)], manifest(batch=8), LIMITS) == {"image": (4, 1, 32, 32)}


@pytest.mark.parametrize("shape", [(0, 1), (5, 1), (1, 2), (1,), (1, 1, 1)])
def test_what_lies_outside_is_refused_with_the_range(shape: tuple[int, ...]):
    ranges = {"image": ShapeRange(least=(1, 1), usual=(2, 1), most=(4, 1))}
    check({"image": (4, 1)}, ranges)
    with pytest.raises(InferenceError, match=r"1x1\.\.2x1\.\.4x1") as caught:
        check({"image": shape}, ranges)
    assert caught.value.word == "inference.failed"


def test_an_input_the_engine_has_not_is_refused():
    with pytest.raises(InferenceError, match="no input 'other'"):
        check({"other": (1,)}, {})
