"""Keep pynetdicom quiet about patients.

pynetdicom logs data sets, identifiers and exception texts; each may name a patient.
Here its records become one dotted word with a module and a line, and its data set printers are switched off.
These settings are the process's, so nothing else in it may use pynetdicom.
"""

from __future__ import annotations

import logging
from functools import cache

import pydicom
import structlog
from pynetdicom import _config, register_uid
from pynetdicom.service_class import StorageServiceClass

from dicom_node.storage_classes import BEYOND_THE_LIBRARY

log = structlog.get_logger(__name__)


class _Words(logging.Handler):
    """Say that the library complained and where, never what about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the place of one record; its text stays unread.

        What the library merely reports has a word of ours elsewhere; what it caught has not.
        """
        caught = record.exc_info[0] if record.exc_info else None
        say = log.warning if caught else log.debug
        say("node.library", module=record.module, line=record.lineno, error=getattr(caught, "__name__", None))


@cache
def tame() -> None:
    """Route the library's log through our words and teach it the storage classes it lacks; once is enough."""
    library = logging.getLogger("pynetdicom")
    library.handlers = [_Words(logging.ERROR)]
    library.setLevel(logging.ERROR)
    library.propagate = False
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    # pydicom would warn about an odd UID and print it; what may be odd is decided by preflight.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    # A UID the command carries is judged by preflight, which answers C111.
    # The library would drop the request without an answer and leave the sender waiting.
    _config.VALIDATORS["UI"] = lambda _value: (True, "")
    for keyword, uid in BEYOND_THE_LIBRARY.items():
        register_uid(uid, keyword, StorageServiceClass)
