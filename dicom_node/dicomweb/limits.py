"""Every bound of a DICOMweb request beyond the wire's own, each with its unit in its name (P10).

How many may connect, how long a handshake or a silence may last, and how large an instance may be are the
wire's bounds, `dicom_node.limits`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.limits import GIB, KIB, MIB


@dataclass(frozen=True, kw_only=True)
class WebLimits:
    """What one request or one answer may take."""

    # The request line and all header fields of a request, or of an answer.
    head_bytes_max: int = 16 * KIB
    head_seconds_max: float = 30.0
    request_bytes_max: int = 64 * GIB
    # One request from its first byte to its last; one that only dribbles holds a thread no longer.
    request_seconds_max: float = 3600.0
    # Instances of one request: the largest studies of perfusion and tomosynthesis.
    parts_max: int = 20_000
    part_head_bytes_max: int = 8 * KIB
    part_fields_max: int = 32
    # What may stand before the first boundary, to be ignored (RFC 2046 5.1.1).
    preamble_bytes_max: int = 64 * KIB
    # Preamble and file meta information; private information may stand there.
    meta_bytes_max: int = 64 * KIB
    retry_after_seconds: int = 60
    # How long what a refused client still sends is read, so that it gets to the answer.
    linger_seconds_max: float = 2.0
    linger_bytes_max: int = 4 * MIB

    # What one request of ours holds, unless a single object is larger.
    stow_objects_max: int = 16
    stow_bytes_max: int = 64 * MIB
    # One request of ours and its answer: shorter than the lease of the deliveries in it.
    stow_seconds_max: float = 240.0
    # An answer to a STOW-RS request of ours: some hundred bytes an object from an honest peer.
    reply_bytes_max: int = 4 * MIB

    # A question of ours to a worklist and its answer, and how many workitems one answer is to hold.
    ups_seconds_max: float = 30.0
    ups_page_max: int = 50


DEFAULT = WebLimits()
