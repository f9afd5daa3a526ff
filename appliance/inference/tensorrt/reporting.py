"""Say what was really built: read back from the engine where one can be opened, else from the network parsed.

Never: repeats what was asked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from appliance.inference.tensorrt.building import BuildOptions, Built, Ranges

_LAYERS_MAX = 4096


def details_of(
    built: Built, ranges: Ranges, options: BuildOptions, layers: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the details of a build as JSON values."""
    definition = built.definition
    return {
        "inputs": [_tensor(definition.get_input(n)) for n in range(definition.num_inputs)],
        "outputs": [_tensor(definition.get_output(n)) for n in range(definition.num_outputs)],
        "profile": {name: str(wanted) for name, wanted in ranges.items()},
        "layers": dict(layers),
        "plan_bytes": len(built.plan),
        "timing_cache_bytes": len(built.timing_cache or b""),
        "build_seconds": round(built.seconds, 3),
        "tf32": built.tf32,
        "workspace_bytes": options.workspace_bytes,
        "targets": list(options.targets),
        "warnings": list(built.warnings),
    }


def layers_of_definition(definition: Any) -> dict[str, Any]:
    """Count the layers of the network as it was parsed, before the builder joined any."""
    layers = [definition.get_layer(n) for n in range(definition.num_layers)]
    types = [_word(layer.get_output(n).dtype) for layer in layers for n in range(layer.num_outputs)]
    return {
        "read_from": "network definition",
        "count": len(layers),
        "kinds": dict(Counter(_word(layer.type) for layer in layers)),
        "types": dict(Counter(types)),
    }


def layers_of_engine(library: Any, deserialised: Any) -> dict[str, Any]:
    """Count the layers of the engine itself, and the types they write. Not verified on hardware."""
    inspector = deserialised.create_engine_inspector()
    told = json.loads(inspector.get_engine_information(library.LayerInformationFormat.JSON) or "{}")
    listed = [one for one in told.get("Layers", [])[:_LAYERS_MAX] if isinstance(one, dict)]
    outputs = [output for one in listed for output in one.get("Outputs", [])]
    return {
        "read_from": "engine inspector",
        "count": len(told.get("Layers", [])),
        "kinds": dict(Counter(str(one.get("LayerType", "unknown")) for one in listed)),
        "types": dict(Counter(str(output.get("Format/Datatype", "unknown")) for output in outputs)),
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": _word(tensor.dtype), "shape": [int(side) for side in tensor.shape]}


def _word(member: Any) -> str:
    return str(getattr(member, "name", member))
