"""What ONNX Runtime on the processor answers to a model's golden cases: the measure of every other engine.

The network's own answers are kept, by the digest of what it was asked, so that every engine is compared with
the same ones and the processor works them out once. On disk they are sealed as built engines are.
Never: answers a study.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError, Tensors, key_of
from appliance.inference.limits import InferenceLimits
from models.package import Package

_log = log.get("inference")
_SEAL_BYTES = hashlib.sha256().digest_size


class Reference:
    """The reference of one package.

    `make` gives an engine for the processor, unloaded. `folder` is where answers are kept, None for nowhere;
    `secret` seals them.
    """

    def __init__(
        self,
        package: Package,
        make: Callable[[], Engine],
        *,
        limits: InferenceLimits,
        folder: Path | None = None,
        secret: bytes = b"",
    ) -> None:
        self._package, self._make, self._limits = package, make, limits
        self._engine: Engine | None = None
        self._new, self._bytes = False, 0
        # Only asked for its name, which starts nothing; `make` may start a process.
        processor = OnnxRuntimeCpu(limits)
        self.text = processor.provenance().text
        key = key_of({"package": package.digest, "engine": processor.plan(package).key})
        self._path = None if folder is None else folder / f"{key.removeprefix('sha256:')}.answers"
        self._secret = secret
        self._answers = self._read()

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Answer as the processor does, from memory where it was asked before.

        Raises:
            InferenceError: the processor cannot run the network.
        """
        asked = digest_of(batch)
        if asked in self._answers:
            return self._answers[asked]
        answer = self._live().infer(batch, deadline_seconds=deadline_seconds)
        self._bytes += sum(array.nbytes for array in answer.values())
        if self._bytes <= self._limits.reference_bytes_max:
            self._answers[asked], self._new = answer, True
        return answer

    def close(self) -> None:
        """Keep what is new, and give the memory back."""
        if self._engine is not None:
            self._engine.unload()
            self._engine = None
        if self._new and self._path is not None and self._bytes <= self._limits.reference_bytes_max:
            self._write(self._path)
        self._new = False

    def _live(self) -> Engine:
        if self._engine is None:
            engine = self._make()
            try:
                engine.load(engine.plan(self._package))
            except InferenceError:
                engine.unload()
                raise
            self._engine = engine
        return self._engine

    def _write(self, path: Path) -> None:
        arrays = {
            f"{asked}/{name}": a for asked, answer in self._answers.items() for name, a in answer.items()
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        data = buffer.getvalue()
        try:
            make_folder(path.parent)
            write_file(path, self._seal(data) + data)
        except (NoSpace, DiskFault, OSError) as error:
            _log.warning("engine.reference_not_kept", reason=type(error).__name__)

    def _read(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Read the kept answers; those that cannot be trusted are worked out again."""
        answers: dict[str, dict[str, NDArray[Any]]] = {}
        if self._path is None or not self._path.is_file():
            return answers
        try:
            data = self._unsealed(self._path)
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                for key in held.files:
                    asked, _, name = key.partition("/")
                    answers.setdefault(asked, {})[name] = held[key]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            _log.warning("engine.reference_refused", reason=type(error).__name__)
            return {}
        return answers

    def _unsealed(self, path: Path) -> bytes:
        with path.open("rb") as file:
            held = file.read(2 * self._limits.reference_bytes_max)
        sealed, data = held[:_SEAL_BYTES], held[_SEAL_BYTES:]
        if not hmac.compare_digest(sealed, self._seal(data)):
            raise ValueError("the seal is another box's, or the file was changed")
        return data

    def _seal(self, data: bytes) -> bytes:
        return hmac.new(self._secret, b"readside-answers-1\n" + data, hashlib.sha256).digest()


def digest_of(batch: Tensors) -> str:
    """Name a batch by its names, types, shapes and values."""
    whole = hashlib.sha256()
    for name in sorted(batch):
        array = np.ascontiguousarray(batch[name])
        whole.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.view(np.uint8).data if array.size else b"")
    return whole.hexdigest()
