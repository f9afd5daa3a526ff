"""JSON lines on standard output: one event a line, the event a fixed word, never patient data (P11)."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import structlog
import structlog.typing

_FRAMES_MAX = 12
_THIRD_PARTY = ("pynetdicom", "pydicom", "highdicom", "uvicorn", "alembic", "sqlalchemy", "PIL")


def configure(service: str) -> None:
    """Send this process's log to standard output as JSON lines marked with the service's name.

    Libraries may print what they were given, patient data among it; they are silenced but for CRITICAL.
    """
    _silence_libraries()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def silence() -> None:
    """Keep this process quiet: a person or a program reads its output."""
    for name in _THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(processors=[_drop], logger_factory=structlog.ReturnLoggerFactory())


def where(error: BaseException) -> list[str]:
    """Return the places an error passed through, innermost last; never its message, which may hold data."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _drop(_logger: object, _method: str, _event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


def _silence_libraries() -> None:
    for name in _THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # pydicom's warnings quote the value that they complain of.
    warnings.simplefilter("ignore")


def get(room: str) -> Any:
    """Return the logger of a room."""
    return structlog.get_logger(room=room)
