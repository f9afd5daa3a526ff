"""Every bound of the doctor, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.limits import Limits as WireLimits

# A person waits: a peer that takes longer than this for a small question is a finding of its own.
WIRE = WireLimits(
    connect_seconds_max=5.0,
    tls_handshake_seconds_max=5.0,
    acse_seconds_max=8.0,
    dimse_seconds_max=10.0,
    network_seconds_max=10.0,
    find_seconds_max=10.0,
    move_silence_seconds_max=20.0,
    move_seconds_max=30.0,
)


@dataclass(frozen=True, kw_only=True)
class DoctorLimits:
    """Bounds of one examination."""

    at_once_max: int = 8
    connect_seconds_max: float = 5.0
    # A server's first words and a proxy's answer.
    answer_seconds_max: float = 6.0
    answer_bytes_max: int = 64 * 1024
    program_seconds_max: float = 8.0

    # A Date header counts whole seconds, and an answer may be a second on its way.
    clock_off_seconds_max: float = 30.0
    clock_drift_seconds_max: float = 2.0
    # How far ahead of the clock a file of the box may be.
    file_ahead_seconds_max: float = 300.0

    # A sync that takes longer holds up every arrival; one image is one sync at worst.
    sync_seconds_max: float = 0.5
    sync_slow_seconds: float = 0.05
    # A flash disk with a protected cache needs some ten microseconds; less was never sent to a disk.
    sync_honest_seconds_min: float = 5e-6
    write_mib_per_second_min: float = 1.0
    write_slow_mib_per_second: float = 50.0

    memory_gib_min: float = 2.0
    memory_easy_gib: float = 6.0
    hot_degrees_below_critical: float = 5.0

    # A service that was started a moment ago, or died and is started again.
    start_seconds_max: float = 10.0
    expiry_days_min: float = 30.0
    backup_days_max: float = 7.0
    entries_looked_at_max: int = 5_000

    # An archive may file what it took only after it answered.
    move_tries_max: int = 4
    move_pause_seconds: float = 1.0
    arrival_seconds_max: float = 15.0


LIMITS = DoctorLimits()
