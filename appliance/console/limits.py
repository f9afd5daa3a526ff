"""Every bound of the console, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of requests, log-ins, pages, pictures and the preview."""

    # No form and no API call needs more; anything larger is an error or an attack (F61).
    body_bytes_max: int = 64 * 1024
    # A body that trickles in must not hold a place for ever.
    body_seconds_max: float = 10.0
    path_chars_max: int = 2_048
    head_bytes_max: int = 32 * 1024
    head_seconds_max: float = 20.0
    connections_max: int = 128

    session_seconds: float = 8 * 3600.0
    form_seconds: float = 3600.0
    password_chars_max: int = 1_024
    # Argon2 takes about 64 MiB and one core for each check that runs.
    password_checks_at_once_max: int = 2
    password_wait_seconds_max: float = 10.0
    # A script that logs in with each call is checked in full once a minute.
    proven_seconds: float = 60.0
    proven_max: int = 64

    failures_seconds: float = 300.0
    failures_per_user_max: int = 10
    failures_per_address_max: int = 20
    addresses_max: int = 4_096

    studies_per_page: int = 50
    studies_per_page_max: int = 200
    rows_in_attention_max: int = 100
    timeline_rows_max: int = 300
    warnings_max: int = 20
    settle_at_once_max: int = 1_000
    preview_bytes_max: int = 32 * 2**20

    # The preview keeps decoded slices for everybody who looks: 160 MiB are 320 slices of 512 x 512.
    preview_slices_bytes_max: int = 160 * 2**20
    # One slice as it is sent; the largest radiographs have 50 MB.
    preview_slice_bytes_max: int = 96 * 2**20
    # Decoding shares the machine with inference.
    preview_decodes_at_once_max: int = 2
    preview_decodes_waiting_max: int = 16
    preview_decode_wait_seconds_max: float = 30.0
    # Decoder processes that nobody needed for so long are ended.
    preview_decoder_idle_seconds: float = 60.0
    preview_scenes_max: int = 8
    # A header with the functional groups of ten thousand frames.
    preview_header_bytes_max: int = 64 * 2**20
    preview_object_bytes_max: int = 256 * 2**20
    preview_images_max: int = 20_000
    preview_marks_max: int = 2_000
    preview_points_max: int = 200_000
    preview_masks_max: int = 100_000

    # Looks of one person at one patient within this time are one row, however often a page refreshes.
    view_again_seconds: float = 900.0
    views_remembered_max: int = 4_096
    # Counting everything walks whole tables; many watchers share one count.
    snapshot_seconds: float = 2.0

    refresh_seconds: int = 5
    delivery_waits_seconds: float = 3600.0
    # Below this many times the floor, a person should make room before receiving stops.
    disk_near_floor_times: float = 1.5
    silent_heartbeats: int = 3


DEFAULT = Limits()
