"""Put packages into a model repository as the test server reads it."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from appliance.inference.kserve.export import Batching, export
from models.package import Package

_MODEL = Path(__file__).with_name("onnx_model.py")
# The server's interpreter knows nothing of the environment that the tests run in, and heeds no variable.
_BRIDGE = """\
import sys

sys.path[:0] = {paths!r}

from onnx_model import TritonPythonModel
"""


def put(
    repository: Path,
    package: Package,
    *,
    parameters: Mapping[str, str] | None = None,
    batching: Batching | None = None,
) -> Path:
    """Export a package and set Python in the place of the ONNX backend, which the wheel's server lacks.

    Returns the model's folder.
    """
    folder = export(package, repository, batching=batching)
    config = folder / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace('backend: "onnxruntime"', 'backend: "python"')
    for key, value in (parameters or {}).items():
        text += f'parameters [{{ key: "{key}" value: {{ string_value: "{value}" }} }}]\n'
    config.write_text(text, encoding="utf-8")
    paths = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    for version in (path for path in folder.iterdir() if path.is_dir()):
        shutil.copy(_MODEL, version / _MODEL.name)
        (version / "model.py").write_text(_BRIDGE.format(paths=paths), encoding="utf-8")
    return folder
