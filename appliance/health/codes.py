"""Numbers for what would otherwise be words: only numbers leave a site.

Promises: a number keeps its meaning for ever; what has no number of its own is OTHER.
Never: takes a number back, or gives one to what a site wrote itself.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """What a record tells of."""

    STATE = 1
    WORK = 2
    MACHINE = 3
    INPUT = 4
    SHADOW = 5


class EngineCode(IntEnum):
    """Which engine computes; NONE: nothing is loaded."""

    NONE = 0
    CPU = 1
    OPENVINO = 2
    CUDA = 3
    TENSORRT = 4
    KSERVE = 5
    OTHER = 6


class Failure(IntEnum):
    """Why a job came to no answer."""

    OTHER = 0
    DECODE = 1
    MEMORY = 2
    INFERENCE = 3
    CRASHED = 4
    DEADLINE = 5
    LOAD = 6
    ANSWER = 7
    NO_ENGINE = 8
    WORKER_DIED = 9
    RESULT = 10


class Refused(IntEnum):
    """Why an image was not kept."""

    OTHER = 0
    NOT_READABLE = 1
    TOO_LARGE = 2
    NOT_AUTHORISED = 3
    CLASS = 4
    UID = 5
    NO_SPACE = 6


class Rejected(IntEnum):
    """Why an association was not accepted (PS3.8 9.3.4)."""

    OTHER = 0
    CALLED_AE = 1
    CALLING_AE = 2
    TOO_MANY = 3
    TLS = 4
    CERTIFICATE = 5


class Gpu(IntEnum):
    """Whether the GPU answers; NO_ANSWER is an alarm of its own."""

    NONE = 0
    WELL = 1
    NO_ANSWER = 2


_FAILURES: Final = {
    "decode.memory": Failure.MEMORY,
    "worker.memory": Failure.MEMORY,
    "inference.memory": Failure.MEMORY,
    "inference.crashed": Failure.CRASHED,
    "inference.deadline": Failure.DEADLINE,
    "decode.deadline": Failure.DEADLINE,
    "inference.load": Failure.LOAD,
    "inference.build": Failure.LOAD,
    "inference.parity": Failure.LOAD,
    "inference.answer": Failure.ANSWER,
    "inference.no_engine": Failure.NO_ENGINE,
    "job.worker_died": Failure.WORKER_DIED,
}
_FAMILIES: Final = {"decode": Failure.DECODE, "inference": Failure.INFERENCE, "result": Failure.RESULT}
# What the line for people of an engine holds; it may name a device as well, so the order counts.
_ENGINES: Final = (
    ("kserve", EngineCode.KSERVE),
    ("tensorrt", EngineCode.TENSORRT),
    ("openvino", EngineCode.OPENVINO),
    (" cuda", EngineCode.CUDA),
    (" cpu", EngineCode.CPU),
)
# The status that a sender was answered with, as the timeline writes it; `dicom_node.status` says each.
_REFUSED: Final = {
    "0122": Refused.CLASS,
    "A900": Refused.CLASS,
    "0124": Refused.NOT_AUTHORISED,
    "A700": Refused.NO_SPACE,
    "A701": Refused.NO_SPACE,
    "C110": Refused.NOT_READABLE,
    "C111": Refused.UID,
    "C112": Refused.UID,
    "C113": Refused.TOO_LARGE,
}


def failure_of(word: str | None) -> Failure:
    """Return the number of the word that a job ended with."""
    if word is None:
        return Failure.OTHER
    return _FAILURES.get(word) or _FAMILIES.get(word.partition(".")[0], Failure.OTHER)


def refused_of(status: object) -> Refused:
    """Return the number of the status that an image was refused with, four hex digits."""
    return _REFUSED.get(status, Refused.OTHER) if isinstance(status, str) else Refused.OTHER


def engine_of(text: str | None) -> EngineCode:
    """Return the number of the engine that a result's line for people names."""
    said = (text or "none").lower()
    found = next((code for part, code in _ENGINES if part in said), EngineCode.OTHER)
    return EngineCode.NONE if said.startswith("none") else found
