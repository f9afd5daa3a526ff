"""Model packages of other versions, made from one that ships, and how they come onto a box."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from appliance.core.packages import installed_folder
from appliance.ledger import versions
from appliance.ledger.engine import Ledger
from appliance.ledger.versions import Arrival, Version
from models.catalogue import LIBRARY
from models.package import Package, open_package

NAME = "ct-tissue-bands"


def bands(folder: Path, version: str = "1.1.0", *, changes: Mapping[str, str] | None = None) -> Path:
    """Write the tissue bands under another version into a folder; `changes` are made in its manifest."""
    return copied(NAME, folder, version, changes or {})


def copied(name: str, folder: Path, version: str, changes: Mapping[str, str]) -> Path:
    """Write a package that ships under another version into a folder."""
    path = folder / f"{name}-{version}"
    shutil.copytree(LIBRARY / name, path)
    manifest = path / "manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    old = f'version = "{open_package(LIBRARY / name).manifest.version}"'
    for before, after in {old: f'version = "{version}"', **changes}.items():
        assert text.count(before) >= 1, f"the manifest has no {before!r}"
        text = text.replace(before, after)
    manifest.write_text(text, encoding="utf-8")
    return path


def lesion(folder: Path, nodes: Sequence[onnx.NodeProto], version: str = "1.1.0") -> Path:
    """Write the lesion model with another network, from "image" to "probability", into a folder."""
    path = copied("ct-phantom-lesion", folder, version, {})
    shape: list[str | int | None] = ["batch", 1, 64, 64, 64]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)
    _put_network(path, nodes, image, answer)
    return path


def blind(folder: Path, version: str = "1.2.0") -> Path:
    """The tissue bands with a network that sees the first band everywhere: no golden case reproduces."""
    path = bands(folder, version)
    shape: list[str | int | None] = ["n", 1, "y", "x"]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("labels", TensorProto.UINT8, shape)
    zero = helper.make_node("Sub", ["image", "image"], ["zero"])
    _put_network(
        path, [zero, helper.make_node("Cast", ["zero"], ["labels"], to=TensorProto.UINT8)], image, answer
    )
    return path


def _put_network(
    path: Path, nodes: Sequence[onnx.NodeProto], image: onnx.ValueInfoProto, answer: onnx.ValueInfoProto
) -> None:
    graph = helper.make_graph(list(nodes), "test", [image], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, path / "model.onnx")


def says_nothing(folder: Path) -> Path:
    """A lesion model that never finds anything: no golden case with a lesion reproduces."""
    return lesion(folder, [helper.make_node("Sub", ["image", "image"], ["probability"])])


def says_nan(folder: Path) -> Path:
    """A lesion model whose every answer is not a number."""
    zero = helper.make_node("Sub", ["image", "image"], ["zero"])
    return lesion(folder, [zero, helper.make_node("Div", ["zero", "zero"], ["probability"])])


def shipped() -> Package:
    """The tissue bands as they ship."""
    return open_package(LIBRARY / NAME)


def put(ledger: Ledger, root: Path, path: Path) -> Version:
    """Bring a package onto a box as an installation leaves it: files in place, and a row."""
    package = open_package(path)
    shutil.copytree(path, installed_folder(root, package.digest))
    manifest = package.manifest
    arrival = Arrival(name=manifest.name, version=manifest.version, digest=package.digest, source=path.name)
    with ledger.write() as tx:
        return versions.fetched(tx, arrival, evidence={}, at=ledger.clock.now(), by="jo")


def activate(ledger: Ledger, version: Version, *, former: str | None = None) -> Version:
    """Let a version serve in place of a digest, as an activation that passed leaves it."""
    at = ledger.clock.now()
    with ledger.write() as tx:
        row = versions.verifying(tx, versions.building(tx, version, at=at), at=at)
        return versions.activated(tx, row, evidence={}, former_digest=former, at=at, by="jo")


def flawed(folder: Path, version: str = "1.2.0", *, above: float = 1100.0) -> Path:
    """The tissue bands with a label that none knows wherever a voxel is brighter than any golden case has."""
    path = bands(folder, version)
    model = onnx.load(path / "model.onnx")
    graph = model.graph
    output = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["plain" if name == output else name for name in node.output]
    bright = helper.make_tensor("bright_above", TensorProto.FLOAT, [], [above])
    unknown = helper.make_tensor("unknown_label", TensorProto.UINT8, [], [200])
    graph.initializer.extend([bright, unknown])
    graph.node.append(helper.make_node("Greater", ["image", "bright_above"], ["is_bright"]))
    graph.node.append(helper.make_node("Where", ["is_bright", "unknown_label", "plain"], [output]))
    onnx.save_model(model, path / "model.onnx")
    return path
