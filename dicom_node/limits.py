"""Every bound of the wire, in one place, with its unit in its name.

A bound that is reached has a DICOM status and a log word; none of them is reached by honest traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds one listener or one sender works under."""

    # The longest P-DATA PDU a peer may send us, and the longest we send.
    pdu_bytes_max: int = 128 * KIB
    # A peer that announces less than this cannot be served in reasonable time.
    peer_pdu_bytes_min: int = 1 * KIB
    # PS3.8 9.3.2.2: context identifiers are the odd numbers 1 to 255.
    contexts_max: int = 128

    # An A-ASSOCIATE-RQ of 128 contexts with 40 transfer syntaxes each is 170 KB.
    associate_pdu_bytes_max: int = 512 * KIB
    # One PDU, from its first byte to its last.
    pdu_seconds_max: float = 30.0

    associations_max: int = 16
    # Connections of all kinds, those that have not associated yet among them.
    connections_max: int = 128
    connections_per_address_max: int = 8
    tls_handshake_seconds_max: float = 5.0
    # Log lines of one kind from one address.
    gate_log_seconds: float = 10.0
    connect_seconds_max: float = 10.0
    # ARTIM, and how long we wait for an association or a release to be answered.
    acse_seconds_max: float = 30.0
    # How long we wait for one DIMSE response after our last byte left.
    dimse_seconds_max: float = 60.0
    # How long a connection may stay silent, and how long one socket call may take.
    network_seconds_max: float = 60.0
    # How long a cut association may take to wind up before its socket is closed under it.
    abort_seconds_max: float = 2.0

    # One instance, encoded. An uncompressed tomosynthesis or an ultrasound clip stays below it.
    instance_bytes_max: int = 2 * GIB
    # An answer to C-ECHO, C-STORE or one C-FIND match: a few hundred bytes from an honest peer.
    reply_bytes_max: int = 1 * MIB
    find_responses_max: int = 2000
    find_seconds_max: float = 60.0
    # Instances of one study that a peer may name: the largest studies of perfusion and tomosynthesis.
    find_instances_max: int = 20_000
    # A peer may fetch from tape before it says a word about a retrieval, and be long over the whole of it.
    move_silence_seconds_max: float = 600.0
    move_seconds_max: float = 3600.0
    # The library gathers what a C-GET brings, one instance at a time, in memory.
    get_instance_bytes_max: int = 512 * MIB
    # One request or report of storage commitment: the largest studies, at 150 bytes for a reference.
    commitment_references_max: int = 20_000
    commitment_bytes_max: int = 8 * MIB
    # How long the association of a request is kept for its report; a later one has its own.
    commitment_event_seconds: float = 6.0
    commitment_reports_at_once_max: int = 8
    # One notice of availability or of a performed step: the largest studies, at 400 bytes for a reference.
    notice_references_max: int = 20_000
    notice_bytes_max: int = 8 * MIB
    # Scheduled steps, and so studies, that one performed step may answer.
    notice_studies_max: int = 16
    # PDUs waiting for the socket before the sender waits for it.
    send_queue_pdus_max: int = 16

    # pydicom's recursive reader gives up near 249; 10 is the deepest seen in real structured reports.
    sequence_depth_max: int = 64
    # An enhanced MR of 5,000 frames has about 300,000 elements at all depths and 60,000 items.
    elements_max: int = 500_000
    items_max: int = 200_000
    fragments_max: int = 250_000
    private_blocks_max: int = 1_000
    # Longer text is cut in the facts, never in the bytes.
    fact_text_bytes_max: int = 1_024
    fact_values_max: int = 64
