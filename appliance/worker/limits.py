"""Every bound on turning stored bytes into a volume, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass, field

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """Bounds of one decoder and of the child processes it keeps.

    Attributes:
        children_max: decoder processes alive at once, and threads that fill a volume; two beat one by 1.1 to
            1.7 on two busy cores.
        frame_bytes_max: of one decoded frame; the largest mammograms have 50 MB.
        stream_bytes_max: of one compressed Pixel Data value handed to a child.
        frame_seconds_max: wall time for one frame; the slowest real frames take a second.
        start_seconds_max: wall time for a child to come up.
        child_memory_bytes_max: address space of a child (RLIMIT_AS).
        child_files_max: open files of a child (RLIMIT_NOFILE).
        child_instances_max: a child is replaced after this many, so that a decoder's leaks stay small.
        tries_max: how often one instance may kill a child before its job fails.
    """

    children_max: int = 2
    frame_bytes_max: int = 256 * MIB
    stream_bytes_max: int = GIB
    frame_seconds_max: float = 30.0
    start_seconds_max: float = 30.0
    child_memory_bytes_max: int = 2 * GIB
    child_files_max: int = 32
    child_instances_max: int = 500
    tries_max: int = 2


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """Bounds of one analysis.

    Attributes:
        voxels_max: of one volume; 2 ** 30 float32 voxels are 4 GiB.
        frames_max: of one series.
        inference_seconds_max: all calls of the network for one series together.
    """

    decode: DecodeLimits = field(default_factory=DecodeLimits)
    voxels_max: int = 1 << 30
    frames_max: int = 20_000
    inference_seconds_max: float = 1800.0


@dataclass(frozen=True, kw_only=True)
class AheadLimits:
    """Bounds of what is done before a job asks for it.

    Attributes:
        slices_bytes_max: of decoded frames in memory together; a CT of 400 slices takes 210 MB.
        analysis_bytes_max: of the volumes and masks of finished analyses that no job took yet.
        volume_bytes_max: addresses set aside for one volume; they take no memory by themselves.
        volume_kept_bytes_max: memory that stays with the worker for the next volume.
        silent_seconds: how long nothing must have come for a series before it is analysed; twice as long
            each time that more came after all.
        starts_max: how often one series is analysed ahead, at most.
        look_seconds: between two looks at the ledger while images arrive.
        answers_bytes_max: of a network's answers to the first slices of series that still arrive, together; a
            label map of 400 slices takes 105 MB.
        idle_share_min: of the cores, that must have nothing to do before a network is asked about slices of a
            series that still arrives: receiving it comes first.
    """

    slices_bytes_max: int = GIB
    analysis_bytes_max: int = 2 * GIB
    volume_bytes_max: int = 4 * GIB
    volume_kept_bytes_max: int = 512 * MIB
    silent_seconds: float = 0.1
    starts_max: int = 8
    look_seconds: float = 0.1
    answers_bytes_max: int = 512 * MIB
    idle_share_min: float = 0.5


@dataclass(frozen=True, kw_only=True)
class ShadowLimits:
    """Bounds of what is worked on for a shadow.

    Attributes:
        answers_max: answers of jobs in memory together, until they are put away.
        answers_bytes_max: of their masks together.
        kept_bytes_max: of one answer on disk; most take some kilobytes.
        volume_bytes_max: of the voxels of one series; a larger one is not compared.
        lease_seconds: longer than any comparison may take; a worker that starts anew takes its own back.
        room_again_seconds: how long a comparison waits for which there was no room.
        busy_look_seconds: between two looks at the ledger for work of the box, while one is under way.
    """

    answers_max: int = 4
    answers_bytes_max: int = GIB
    kept_bytes_max: int = 64 * MIB
    volume_bytes_max: int = GIB
    lease_seconds: float = 7200.0
    room_again_seconds: float = 60.0
    busy_look_seconds: float = 0.5
