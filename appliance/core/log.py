"""JSON lines on standard output: one event a line, the event a fixed word, never patient data (P11)."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_THIRD_PARTY = ("pynetdicom", "pydicom", "highdicom", "uvicorn", "alembic", "sqlalchemy", "PIL")


def configure(service: str) -> None:
    """Send this process's log to standard output as JSON lines marked with the service's name.

    Libraries may print what they were given, patient data among it; they are silenced but for CRITICAL.
    """
    for name in _THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def silence() -> None:
    """Keep this process quiet: a person or a program reads its output."""
    for name in _THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL + 1))


def get(room: str) -> Any:
    """Return the logger of a room."""
    return structlog.get_logger(room=room)
