"""What is asked of a server, whichever way it is reached, and every way the asking can go wrong.

Never: anything of a patient but the numbers of a prepared tensor goes out; a request is named by chance.
Never: words of the server's come back in an error; they may hold its paths or the numbers it was sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from numpy.typing import NDArray

from appliance.inference.engine import Tensors


class Trouble(Enum):
    """How a question to a server failed."""

    REFUSED = "no connection to it can be made"
    GONE = "the connection broke off"
    LATE = "it did not answer in time"
    ANSWERED_NO = "it refused the request"
    NONSENSE = "its answer cannot be read"
    NO_CLIENT = "the client library (tritonclient) is not installed"


class WireFault(Exception):
    """A question that was not answered; `sentence` holds nothing that the server said but a status."""

    def __init__(self, trouble: Trouble, status: str = "") -> None:
        """Keep what went wrong, and the status of a server that said no."""
        self.trouble = trouble
        self.sentence = f"{trouble.value} ({status})" if status else trouble.value
        super().__init__(self.sentence)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call of a network.

    Attributes:
        outputs: names of the tensors wanted back.
        id: chance alone, so that it says nothing of whose study it is; the answer must bear it.
    """

    model: str
    version: str
    inputs: Tensors
    outputs: Sequence[str]
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one question; an output that the server left out is missing."""

    id: str
    outputs: Mapping[str, NDArray[Any]]


class Wire(Protocol):
    """One server, asked over HTTP or gRPC. Every call is bounded by its `seconds` and may raise WireFault."""

    @property
    def protocol(self) -> str:
        """Give the name people know the way by."""
        ...

    def live(self, *, seconds: float) -> bool:
        """Say whether the server is live.

        That it is ready says less and more than is asked: one model of anybody's that did not load makes a
        strict server not ready. What counts is whether our model is.
        """
        ...

    def server(self, *, seconds: float) -> Mapping[str, Any]:
        """Return the server's metadata: name, version, extensions."""
        ...

    def model_ready(self, name: str, *, seconds: float) -> bool:
        """Say whether any version of a model is ready."""
        ...

    def load_model(self, name: str, *, seconds: float) -> None:
        """Ask the server to load a model out of its repository, which not every server allows."""
        ...

    def model(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's metadata: versions, platform, inputs, outputs; any version when none is named."""
        ...

    def config(self, name: str, version: str, *, seconds: float) -> Mapping[str, Any]:
        """Return a model's configuration, an extension of the protocol that Triton has."""
        ...

    def infer(self, question: Question, *, seconds: float) -> Answer:
        """Run a network once."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...
