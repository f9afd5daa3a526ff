"""Put a package's network into a Triton model repository, so that `KServe` finds it under the right name.

Promises: the folder of a version is written whole or not at all; another version's folder is never touched.
Never: writes anything but the network and what the server must know to run it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.inference.engine import InferenceError
from appliance.inference.kserve.contract import DIGEST_PARAMETER, dtype_name, folder_of
from appliance.inference.onnx_file import OnnxFile, Port, read_network
from models.package import Package

_CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {cases_max}
input [{inputs}]
output [{outputs}]
version_policy: {{ all {{ }} }}
{batching}{parameters}"""
_TENSOR = '{{ name: "{name}", data_type: TYPE_{dtype}, dims: [{dims}] }}'
_BATCHING = """\
dynamic_batching {{ preferred_batch_size: [{preferred}], max_queue_delay_microseconds: {delay} }}
"""
_DIGEST = re.compile(
    rf'key: "{re.escape(DIGEST_PARAMETER)}(\d+)" value: {{ string_value: "(sha256:[0-9a-f]+)" }}'
)


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How a server gathers the calls of several clients into one.

    Attributes:
        cases_max: slices or patches in one call of the network; what the device's memory holds.
        cases_preferred: as soon as so many wait, they go.
        wait_ms: how long the first waits for others.
    """

    cases_max: int = 32
    cases_preferred: int = 8
    wait_ms: float = 3.0


def export(package: Package, repository: Path, *, batching: Batching | None = None) -> Path:
    """Write a package's network and configuration into a repository; return the model's folder.

    Raises:
        InferenceError: inference.load, the network cannot be read, or the version is there already with other
            content.
        OSError: the repository cannot be written.
    """
    network, folder = read_network(package.onnx_path()), repository / package.manifest.name
    digests = _digests(folder / "config.pbtxt")
    version = folder_of(package.manifest.version)
    if digests.get(version, package.digest) != package.digest:
        raise InferenceError(
            "inference.load", f"The repository holds another package as version {version}; raise the version."
        )
    folder.mkdir(parents=True, exist_ok=True)
    text = config_of(package, network, batching or Batching(), digests | {version: package.digest})
    # The server ignores a folder whose name is no number, so nothing is seen before it is whole.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".readside-") as name:
        config, whole = Path(name) / "config.pbtxt", Path(name) / version
        config.write_text(text, encoding="utf-8")
        config.replace(folder / "config.pbtxt")
        if not (folder / version).exists():
            whole.mkdir()
            (whole / "model.onnx").write_bytes(network.content)
            whole.rename(folder / version)
    return folder


def config_of(package: Package, network: OnnxFile, batching: Batching, digests: Mapping[str, str]) -> str:
    """Write a model's configuration; calls are gathered only where the network leaves its first axis open."""
    batches = all(port.shape[:1] == (None,) for port in (*network.inputs, *network.outputs))
    gathered = _BATCHING.format(
        preferred=min(batching.cases_preferred, batching.cases_max), delay=round(batching.wait_ms * 1000)
    )
    return _CONFIG.format(
        name=package.manifest.name,
        cases_max=max(batching.cases_max, package.manifest.input.batch) if batches else 0,
        inputs=_tensors(network.inputs, batches=batches),
        outputs=_tensors(network.outputs, batches=batches),
        batching=gathered if batches else "",
        parameters="".join(
            f'parameters [{{ key: "{DIGEST_PARAMETER}{version}" value: {{ string_value: "{digest}" }} }}]\n'
            for version, digest in sorted(digests.items())
        ),
    )


def _tensors(ports: Iterable[Port], *, batches: bool) -> str:
    return ", ".join(
        _TENSOR.format(
            name=port.name,
            dtype=dtype_name(port.dtype),
            dims=", ".join(str(-1 if side is None else side) for side in port.shape[1 if batches else 0 :]),
        )
        for port in ports
    )


def _digests(config: Path) -> dict[str, str]:
    """Read which package each version came from, so that writing one keeps what is known of others."""
    return dict(_DIGEST.findall(config.read_text(encoding="utf-8"))) if config.is_file() else {}
