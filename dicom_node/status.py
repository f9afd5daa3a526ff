"""The statuses this node answers a C-STORE with (PS3.4 B.2.3, PS3.7 Annex C).

The list is closed: any other status on the wire is a bug of ours.
The Cxxx codes avoid C001, C002 and C211, which pynetdicom sends for faults of its caller.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What became of an instance, for the peer that sent it."""

    KEPT = 0x0000  # durable here
    OUR_FAULT = 0x0110  # processing failure; the comment carries an incident number
    CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    NO_SPACE = 0xA700  # floor or quota reached, try later
    STORAGE_FAULT = 0xA701  # the disk failed, try later
    DRAINING = 0xA702  # shutting down, try later
    CLASS_MISMATCH = 0xA900  # command and data set name different SOP classes
    NOT_READABLE = 0xC110  # truncated, wrongly framed or in another transfer syntax
    UID_INVALID = 0xC111  # a UID is missing or malformed
    UID_MISMATCH = 0xC112  # command and data set name different instances
    BOUND_EXCEEDED = 0xC113  # deeper or wider than this node reads
