"""What TensorRT said while it worked: its errors are values, and the reason is only in its log.

Promises: a bounded number of lines, each without absolute paths.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from appliance.inference.limits import InferenceLimits

_PATH = re.compile(r"(?:\s+In \w+)?(?:\s+at)?\s+/[^\s)]*|(?<=[\s'\"(])/[^\s)'\"]+")
_WRAPPED = re.compile(r"[\w:]+: Error Code \d+: [\w ]+ \((.*)\)")
_NO_DEVICE = "Cuda Runtime"
_BAD = frozenset({"ERROR", "INTERNAL_ERROR"})


class Journal:
    """Keeps the last lines of a log."""

    def __init__(self, limits: InferenceLimits | None = None) -> None:
        limits = limits or InferenceLimits()
        self._lines: deque[tuple[str, str]] = deque(maxlen=limits.builder_lines_max)
        self._telling_max = limits.telling_lines_max

    def take(self, severity: str, text: str) -> None:
        """Keep a line."""
        if severity in _BAD or severity == "WARNING":
            self._lines += [(severity, _plain(line)) for line in text.splitlines() if line.strip()]

    def errors(self) -> list[str]:
        """Give the errors, each once; those about an absent device only when there are no others."""
        texts = dict.fromkeys(text for severity, text in self._lines if severity in _BAD)
        telling = [text for text in texts if _NO_DEVICE not in text] or list(texts)
        return telling[: self._telling_max]

    def warnings(self) -> list[str]:
        """Give the warnings, each once."""
        texts = dict.fromkeys(text for severity, text in self._lines if severity == "WARNING")
        return list(texts)[: self._telling_max]

    def told(self) -> str:
        """Give the errors as one text."""
        return " ".join(self.errors()) or "The library gave no reason."


def _plain(line: str) -> str:
    """Take the paths of the library's own sources out, and the words it wraps every reason in."""
    line = _PATH.sub("", line).strip()
    wrapped = _WRAPPED.fullmatch(line)
    return wrapped[1] if wrapped else line


def logger_of(library: Any, journal: Journal) -> Any:
    """Make a logger of the library that writes into a journal; whoever uses it keeps it alive."""

    class Logger(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            journal.take(str(severity.name), text)

    return Logger()
