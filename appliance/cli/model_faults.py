"""Everything that is wrong with a package, found in one go and said to the one who makes it.

Looks at the files, the manifest, its condition, the network, coded concepts and units, the memory a box has,
and last at what the network answers to the golden cases.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core import coded, log
from appliance.inference.choose import open_engine
from appliance.inference.engine import InferenceError
from appliance.routes.expression import ExpressionError, compile_condition
from models.archive import ArchiveError, unpack
from models.findings import Code
from models.importing.graph import GraphError, read_graph
from models.labels import codes_of
from models.limits import PackageLimits
from models.manifest import MANIFEST_BYTES_MAX, Manifest, ManifestError, load
from models.package import MANIFEST, Package, PackageError, open_package

_MIB = 1 << 20
_CODE_KEYS = {"value", "scheme", "meaning"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check found.

    Attributes:
        faults: what must be put right; one sentence each.
        hints: what the network says of itself, for whoever is writing the manifest; codes nobody here knows.
        digest: of the package; None while it is none.
    """

    faults: tuple[str, ...]
    hints: tuple[str, ...] = ()
    digest: str | None = None


@dataclass(kw_only=True)
class _Found:
    faults: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def faults_of(path: Path, *, budget_bytes: int | None = None) -> Findings:
    """Check the package at `path`, a folder or a zip; `budget_bytes` is what a box gives to models."""
    log.silence()
    if path.is_dir():
        return _check(path, budget_bytes)
    with tempfile.TemporaryDirectory(prefix="readside-check-") as name:
        folder = Path(name)
        if not path.is_file():
            return Findings(faults=(f"{path.name}: there is no such folder or file",))
        try:
            unpack(path, folder, PackageLimits())
        except ArchiveError as error:
            return Findings(faults=(f"{path.name}: {error}",))
        return _check(folder, budget_bytes)


def _check(folder: Path, budget_bytes: int | None) -> Findings:
    found = _Found()
    package = _opened(folder, found)
    manifest = package.manifest if package else _manifest(folder)
    if manifest is None:
        when, codes = _as_written(folder)
    else:
        when, codes = manifest.accepts.when, list(codes_of(manifest))
    found.faults += [f"{MANIFEST}: {fault}" for fault in (*_condition_faults(when), *coded.faults(codes))]
    found.hints += [f"{doubt}; make sure of it" for doubt in coded.doubts(codes)]
    if manifest is not None:
        found.faults += _memory_faults(manifest, budget_bytes)
    if package is None:
        _look_at_network(folder, manifest, found)
    else:
        found.faults += _engine_faults(package)
    return Findings(
        faults=tuple(dict.fromkeys(found.faults)),
        hints=tuple(found.hints),
        digest=package.digest if package else None,
    )


def _opened(folder: Path, found: _Found) -> Package | None:
    try:
        return open_package(folder)
    except (PackageError, ManifestError) as error:
        found.faults += error.faults
        return None


def _manifest(folder: Path) -> Manifest | None:
    try:
        return load(folder / MANIFEST)
    except ManifestError:
        return None


def _as_written(folder: Path) -> tuple[str, list[tuple[str, Code]]]:
    """Read condition and codes of a manifest that has faults elsewhere, so that these are told with them."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            return "", []
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", []
    accepts = said.get("accepts")
    when = accepts.get("when") if isinstance(accepts, dict) else None
    return (when if isinstance(when, str) else ""), list(_written_codes(said, ""))


def _written_codes(said: object, where: str) -> Iterator[tuple[str, Code]]:
    if isinstance(said, list):
        for number, one in enumerate(said, start=1):
            yield from _written_codes(one, f"{where}[{number}]")
    if not isinstance(said, dict):
        return
    if said.keys() == _CODE_KEYS and all(isinstance(one, str) and one for one in said.values()):
        yield where, Code(**said)
        return
    for key, one in said.items():
        yield from _written_codes(one, f"{where}.{key}".lstrip("."))


def _condition_faults(when: str) -> Iterator[str]:
    if not when.strip():
        return
    try:
        compile_condition(when)
    except ExpressionError as error:
        yield f"accepts.when: {error}"


def _memory_faults(manifest: Manifest, budget_bytes: int | None) -> Iterator[str]:
    needed = manifest.resources.memory_mib
    if budget_bytes is not None and needed * _MIB > budget_bytes:
        yield (
            f"{MANIFEST}: resources.memory_mib is {needed}; this site gives its models "
            f"{budget_bytes // _MIB} MiB ([inference] memory_gib, else what the machine has)"
        )


def _look_at_network(folder: Path, manifest: Manifest | None, found: _Found) -> None:
    """Say what the network is, so that the manifest can be written; its own faults too."""
    name = manifest.network if manifest else "model.onnx"
    path = folder / name
    if not path.is_file():
        found.faults.append(f"{name}: is missing")
        return
    try:
        graph = read_graph(path)
    except GraphError as error:
        found.faults += [fault if fault.startswith(name) else f"{name}: {fault}" for fault in error.faults]
        return
    if graph.taken_in:
        listed = ", ".join(graph.taken_in)
        found.faults.append(
            f"{name}: keeps its weights in {listed}; `readside model import` takes them into the one file"
        )
    found.hints += [f"{name} has the input {one.text()}" for one in graph.inputs]
    found.hints += [f"{name} has the output {one.text()}" for one in graph.outputs]


def _engine_faults(package: Package) -> Iterator[str]:
    """Load the network on the CPU, and hold it to its golden cases."""
    try:
        engine, _ = open_engine(package, ["cpu"])
    except InferenceError as error:
        # One engine was asked, so what matters is why it refused, not that none is left.
        yield error.sentence.removeprefix("No engine can run the model here. cpu: ")
        return
    engine.unload()
