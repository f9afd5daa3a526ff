"""What a test's Triton server runs behind its Python backend: ONNX Runtime on a package's own network.

Copied into a model repository and run by the server's own interpreter, never imported by a test. Parameters
of the model's configuration make it slow, or make it answer NaN; a file `seconds` beside its configuration
makes it slow from one call to the next.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # part of the server


class TritonPythonModel:
    """One network; requests that the server gathered are answered by one call."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network."""
        config = json.loads(args["model_config"])
        given = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._seconds, self._poison = float(given.get("seconds", "0")), given.get("poison") == "nan"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._slow = Path(args["model_repository"]) / "seconds"
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests by one call; the server gathers only those of one shape."""
        # By DLPack both ways: the server's own bridge to numpy was built before numpy 2 and loses every size.
        given = [triton.get_input_tensor_by_name(request, self._input) for request in requests]
        parts = [np.from_dlpack(tensor) for tensor in given]
        time.sleep(float(self._slow.read_text()) if self._slow.exists() else self._seconds)
        answers = self._session.run(None, {self._input: np.concatenate(parts)})
        if self._poison:
            answers = [np.full_like(answer, np.nan) for answer in answers]
        ends = np.cumsum([len(part) for part in parts])[:-1]
        split = [np.split(answer, ends) for answer in answers]
        return [self._response(own) for own in zip(*split, strict=True)]

    def _response(self, answers: Any) -> Any:
        named = zip(self._outputs, answers, strict=True)
        return triton.InferenceResponse(
            output_tensors=[triton.Tensor.from_dlpack(name, answer) for name, answer in named]
        )
