"""Memory and work of a CUDA device on paper, and every call's arguments past NVIDIA's own package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from appliance.inference.cuda_memory import Buffer, Cuda
from appliance.inference.deadline import Deadline
from appliance.inference.engine import InferenceError
from tests.appliance.inference.paper_cuda import PaperCuda
from tests.appliance.inference.test_tensorrt import without_device

SHAPE = (3, 4)


class Held(PaperCuda):
    """Paper that hands every call to the real package too: without a driver that only takes the arguments."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        self.real = real
        self.seen: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        mine = super().__getattribute__(name)
        if not name.startswith("cuda") or isinstance(mine, type) or not callable(mine):
            return mine

        def both(*arguments: Any) -> Any:
            verdict, *_ = getattr(self.real, name)(*self._real(name, arguments))
            assert verdict == self.real.cudaError_t.cudaErrorInsufficientDriver
            self.seen.add(name)
            return mine(*arguments)

        return both

    def _real(self, name: str, arguments: tuple[Any, ...]) -> list[Any]:
        """Give arguments of the real package's types where paper has its own."""
        kinds = {
            "cudaEvent": "cudaEvent_t",
            "cudaGraphDestroy": "cudaGraph_t",
            "cudaGraphI": "cudaGraph_t",
            "cudaGraph": "cudaGraphExec_t",
        }
        first = next((kind for start, kind in kinds.items() if name.startswith(start)), None)
        translated = [self._member(one) for one in arguments]
        if first and not name.startswith("cudaEventCreate"):
            translated[0] = getattr(self.real, first)(8)
        return translated

    def _member(self, value: Any) -> Any:
        enumeration = getattr(self.real, type(value).__name__, None)
        return value if enumeration is None else getattr(enumeration, value.name)


def worked_through(cuda: PaperCuda, *, shared: bool) -> np.ndarray:
    """Reserve, send, fetch, as calls and as a graph, and give all back."""
    device = Cuda(0, runtime=cuda)
    buffer = Buffer(device, shared=shared)
    dtype = np.dtype(np.float32)
    buffer.reserve(48)
    buffer.array(SHAPE, dtype)[...] = 7
    buffer.send(48)
    buffer.fetch(48)
    device.wait(Deadline(10))

    def there_and_back() -> None:
        buffer.send(48)
        buffer.fetch(48)

    graph = device.record(there_and_back)
    buffer.array(SHAPE, dtype)[...] = 9
    device.play(graph)
    device.wait(Deadline(10))
    answer = buffer.array(SHAPE, dtype).copy()
    device.forget(graph)
    buffer.free()
    device.close()
    return answer


@pytest.mark.parametrize("shared", [False, True])
def test_everything_that_was_taken_is_given_back(shared: bool):
    cuda = PaperCuda()
    assert (worked_through(cuda, shared=shared) == 9).all()
    assert (cuda.held, cuda.handles) == ({}, 0)


def test_nvidia_s_own_package_takes_every_call_as_it_is_made():
    """It has no types that a checker could read, and it refuses a wrong argument with a TypeError."""
    without_device()
    real = pytest.importorskip("cuda.bindings.runtime")
    cuda = Held(real)
    worked_through(cuda, shared=False)
    worked_through(cuda, shared=True)
    assert len(cuda.seen) == 19
    wrong: Any = "much"
    with pytest.raises(TypeError):
        cuda.cudaMalloc(wrong)


def test_waiting_ends_at_the_deadline_and_work_stays_in_the_stream():
    cuda = PaperCuda()
    device = Cuda(0, runtime=cuda)
    done: list[int] = []
    cuda.give(lambda: done.append(1))
    cuda.hung = True
    with pytest.raises(InferenceError) as caught:
        device.wait(Deadline(0.02))
    assert caught.value.word == "inference.deadline"
    assert done == []
    cuda.hung = False
    device.wait(Deadline(10))
    assert done == [1]


def test_a_recording_that_fails_leaves_the_stream_usable():
    cuda = PaperCuda()
    device = Cuda(0, runtime=cuda)

    def refused() -> None:
        raise InferenceError("inference.failed", "The engine did not start.")

    with pytest.raises(InferenceError, match="did not start"):
        device.record(refused)
    done: list[int] = []
    cuda.give(lambda: done.append(1))
    device.wait(Deadline(10))
    assert done == [1], "work goes to the stream again, not into a graph"


def test_an_empty_array_has_a_place():
    buffer = Buffer(Cuda(0, runtime=PaperCuda()))
    buffer.reserve(1)
    assert buffer.array((0, 4), np.dtype(np.float32)).shape == (0, 4)
    buffer.free()
