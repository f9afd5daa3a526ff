"""Hold a model on a server against the package it should have been made from: every difference at once.

What is compared is what the two can say of themselves: names, types and shapes of tensors, the version, how
many cases a call may hold, and the package's digest where the model's configuration bears it.
Never: says that the numbers are the same, which is for the golden cases to prove.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from appliance.inference.onnx_file import OnnxFile, Port
from models.package import Package

DIGEST_PARAMETER = "readside.package."
"""Followed by the version's folder; its value in a model's configuration is the package's digest."""
# Type in the protocol's words, and lengths of the axes; ANY where one is free.
_Tensor: TypeAlias = tuple[str, tuple[int, ...]]
_ANY = -1
_NAMES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "bfloat16": "BF16"}


def folder_of(version: str) -> str:
    """Return the repository folder, a plain number, of a model's version.

    1.2.3 is 1002003, so that the newest has the largest number, as servers expect.
    A pre-release or a build has the folder of its version.
    """
    numbers = [int(part) for part in version.partition("-")[0].partition("+")[0].split(".")]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return str(major * 1_000_000 + minor * 1_000 + patch)


def version_on(server: Sequence[str], wanted: str) -> tuple[str, str]:
    """Choose among the versions a server has; return it, and what is wrong with them when none will do."""
    folder = folder_of(wanted)
    if folder in server:
        return folder, ""
    if len(server) <= 1:
        # The only one there is, or a server that numbers nothing; the golden cases tell whether it is ours.
        return next(iter(server), ""), ""
    listed = ", ".join(sorted(server))
    return "", f"has the versions {listed} and no {folder}, the folder of version {wanted}"


def differences(network: OnnxFile, metadata: Mapping[str, Any]) -> list[str]:
    """List how a model's metadata differs from the package's network; an output more is no difference."""
    inputs, outputs = (_listed(metadata.get(side)) for side in ("inputs", "outputs"))
    known = {port.name for port in network.inputs}
    extra = [f"it wants the input {name!r}, which the package lacks" for name in inputs if name not in known]
    return [*_side("input", network.inputs, inputs), *extra, *_side("output", network.outputs, outputs)]


def answer_differences(network: OnnxFile, outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """List how an answer differs from what the package's network gives."""
    given = {name: (dtype_name(array.dtype), tuple(array.shape)) for name, array in outputs.items()}
    return list(_side("output", network.outputs, given))


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Give numpy's type in the protocol's words."""
    return _NAMES.get(dtype.name, dtype.name.upper())


def config_differences(package: Package, config: Mapping[str, Any], version: str) -> list[str]:
    """List what a model's configuration says against the package."""
    found = []
    batch, cases = package.manifest.input.batch, config.get("max_batch_size", 0)
    if isinstance(cases, int) and 0 < cases < batch:
        found.append(f"it takes {cases} cases in a call; the package gives {batch} (max_batch_size)")
    said = _inner(_inner(config, "parameters"), f"{DIGEST_PARAMETER}{version}").get("string_value")
    if said is not None and said != package.digest:
        found.append(f"it was made from another package ({str(said)[:19]}, not {package.digest[:19]})")
    return found


def _inner(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key; an empty one where there is none."""
    value = said.get(key)
    return value if isinstance(value, dict) else {}


def _side(side: str, wanted: Iterable[Port], given: Mapping[str, _Tensor]) -> Iterator[str]:
    for port in wanted:
        ours: _Tensor = (dtype_name(port.dtype), tuple(_ANY if axis is None else axis for axis in port.shape))
        if port.name not in given:
            yield f"it has no {side} {port.name!r}"
        elif not _same(ours, given[port.name]):
            yield f"{side} {port.name!r} is {_text(given[port.name])}; the package's is {_text(ours)}"


def _same(ours: _Tensor, theirs: _Tensor) -> bool:
    """Say whether one will do for the other; an axis that is free on either side takes any length."""
    if ours[0] != theirs[0] or len(ours[1]) != len(theirs[1]):
        return False
    return all(_ANY in pair or len(set(pair)) == 1 for pair in zip(ours[1], theirs[1], strict=True))


def _text(tensor: _Tensor) -> str:
    return f"{tensor[0]} {list(tensor[1])}"


def _listed(tensors: Any) -> dict[str, _Tensor]:
    """Read the tensors of a server's answer; what is no tensor is left out, and so reported as missing."""
    found = {}
    for one in tensors if isinstance(tensors, list) else []:
        try:
            shape = tuple(int(axis) for axis in one.get("shape", []))
            found[str(one["name"])] = (str(one["datatype"]), shape)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return found
