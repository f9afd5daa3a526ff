"""Ask a server over gRPC (Open Inference Protocol) with tritonclient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.inference.kserve.wire import Answer, Question, Trouble, WireFault
from appliance.inference.limits import InferenceLimits

_LATE, _GONE = "StatusCode.DEADLINE_EXCEEDED", "StatusCode.UNAVAILABLE"
# What gRPC says of a call that never left this machine; any other loss may have reached the server.
_NEVER_SENT = ("failed to connect", "connection refused", "dns resolution failed")
_CANCELLED = "StatusCode.CANCELLED"


class GrpcWire:
    """One server over gRPC; any number of threads may ask at once, over one connection."""

    protocol = "gRPC"

    def __init__(self, host: str, port: int, limits: InferenceLimits) -> None:
        from tritonclient import grpc as triton  # type: ignore[import-untyped]

        self._triton = triton
        self._client = triton.InferenceServerClient(f"{host}:{port}", channel_args=_options(limits))

    def live(self, *, seconds: float) -> bool:
        """Say whether the server is live."""
        return bool(self._asked(self._client.is_server_live, seconds=seconds))

    def server(self, *, seconds: float) -> Mapping[str, Any]:
        """Return the server's metadata."""
        return dict(self._asked(self._client.get_server_metadata, as_json=True, seconds=seconds))

    def model_ready(self, name: str, *, seconds: float) -> bool:
        """Say whether any version of a model is ready."""
        try:
            return bool(self._asked(self._client.is_model_ready, name, seconds=seconds))
        except WireFault as fault:
            # A model that the server has never heard of is an error here and an answer over HTTP.
            if fault.trouble is Trouble.ANSWERED_NO:
                return False
            raise

    def load_model(self, name: str, *, seconds: float) -> None:
        """Ask the server to load a model out of its repository."""
        self._asked(self._client.load_model, name, seconds=seconds)

    def model(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's metadata."""
        return dict(
            self._asked(self._client.get_model_metadata, name, version, as_json=True, seconds=seconds)
        )

    def config(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's configuration."""
        said = self._asked(self._client.get_model_config, name, version, as_json=True, seconds=seconds)
        return dict(said.get("config", {}))

    def infer(self, question: Question, *, seconds: float) -> Answer:
        """Run a network once."""
        from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

        inputs, outputs = self._tensors(question)
        result = self._asked(
            self._client.infer,
            question.model,
            inputs,
            model_version=question.version,
            outputs=outputs,
            request_id=question.id,
            seconds=seconds,
        )
        try:
            arrays = {name: result.as_numpy(name) for name in question.outputs}
        except (ValueError, TypeError, IndexError, InferenceServerException) as error:
            raise WireFault(Trouble.NONSENSE) from error
        present = {name: array for name, array in arrays.items() if array is not None}
        return Answer(id=str(result.get_response().id), outputs=present)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _tensors(self, question: Question) -> tuple[list[Any], list[Any]]:
        from tritonclient.utils import np_to_triton_dtype

        inputs = []
        for name, array in question.inputs.items():
            tensor = self._triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(tensor.set_data_from_numpy(array))
        return inputs, [self._triton.InferRequestedOutput(name) for name in question.outputs]

    def _asked(self, call: Callable[..., Any], *given: Any, seconds: float, **named: Any) -> Any:
        """Ask within a time; every error of the library becomes ours."""
        from tritonclient.utils import InferenceServerException

        if seconds <= 0:
            raise WireFault(Trouble.LATE)
        try:
            return call(*given, client_timeout=seconds, **named)
        except InferenceServerException as error:
            raise WireFault(*_named(error)) from error
        except ValueError as error:
            # gRPC's own word for a channel that was closed by another thread meanwhile.
            raise WireFault(Trouble.GONE) from error


def _named(error: Any) -> tuple[Trouble, str]:
    status = str(error.status())
    if status == _LATE:
        return Trouble.LATE, ""
    if status in (_GONE, _CANCELLED):
        never = any(words in str(error.message()).lower() for words in _NEVER_SENT)
        return (Trouble.REFUSED if never else Trouble.GONE), ""
    return Trouble.ANSWERED_NO, status.removeprefix("StatusCode.")


def _options(limits: InferenceLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", min(limits.kserve_answer_bytes_max, 2**31 - 1)),
        # Pixels go where the configuration says, whatever proxy the environment names.
        ("grpc.enable_http_proxy", 0),
        # What another engine's connection met says nothing of this one; a server that is back is found soon.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", int(limits.kserve_connect_seconds_max * 1000)),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # A host that vanished is noticed; servers take more than one ping in five minutes for an attack.
        ("grpc.keepalive_time_ms", 310_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
